"""Retrieval: token encoders, BM25, and a store that finds passages by late interaction."""
