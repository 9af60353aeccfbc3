"""From files to a domain's documents and passages: what is new or changed is read, and what is done is kept."""
