"""`gag bench`: methods, domains and metrics compared in one resumable run."""
