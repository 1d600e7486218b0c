"""A run on an existing Ray cluster: pack the folder, submit the job, follow its output."""
