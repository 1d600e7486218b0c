"""What a person sees: tables, the live display, pictures with what was found, the estimate."""
