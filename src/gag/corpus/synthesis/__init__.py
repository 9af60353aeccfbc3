"""From passages to question-answer pairs: who writes them, the gates they pass, a person's review."""
