"""What implementers of evomerge's contracts test against. Needs pytest; nothing else imports it."""
