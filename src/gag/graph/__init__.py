"""The graph: an RDF store of triples, paths, linked entities, plans, explanations (arXiv 2310.01061)."""
