"""From files to passages (parsing, cleaning, ingest, chunk), from passages to pairs (language, synthesis)."""
