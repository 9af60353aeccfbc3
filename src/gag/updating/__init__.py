"""Updating a domain by what is new: choosing, training on, measuring what it costs, taking its place, going back."""
