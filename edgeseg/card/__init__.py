"""The model card: what it may say (`schema`), how it is read (`load`), what it means here (`resolve`)."""
