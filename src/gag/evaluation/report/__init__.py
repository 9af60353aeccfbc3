"""The report of a comparison: one HTML file that needs no network, its charts, and small PNGs of them for documents."""
