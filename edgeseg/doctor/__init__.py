"""What this machine has, what is missing, and how to mend it. Nothing is changed, installed or downloaded."""
