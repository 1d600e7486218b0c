"""Everything that a person sees: tables, live display, drawings, the estimate of `plan`."""
