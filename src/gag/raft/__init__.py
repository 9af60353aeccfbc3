"""Retrieval-augmented fine-tuning (RAFT, arXiv 2403.10131): examples of answering from passages with a quote."""
