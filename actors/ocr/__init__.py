"""What several text readers share."""
