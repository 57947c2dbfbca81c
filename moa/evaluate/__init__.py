"""Evaluation: what is asked, who judges, which numbers come out, with their error bars."""
