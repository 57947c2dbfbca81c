"""The page at `/`: a chat that shows an ensemble at work, and a browser of finished runs."""
