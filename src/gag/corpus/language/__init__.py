"""English seen from afar, without a model: words, phrases, clauses, quantities, what a document is about."""
