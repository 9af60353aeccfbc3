"""From blocks to clean text: what is no part of a document's subject is cut, and copies are found."""
