"""The router: a frozen encoder, prototype banks, the nearest prototype's route, and how often that is right."""
