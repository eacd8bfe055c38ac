"""Documents to pages of text, in a process of their own: what a broken or hostile file does there stays its error."""
