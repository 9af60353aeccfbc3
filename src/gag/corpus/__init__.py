"""From files to passages: parse, clean, chunk."""
