"""From a file to blocks in reading order: one parser a format, and how pages are laid out."""
