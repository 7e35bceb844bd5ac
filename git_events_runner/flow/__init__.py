"""Long-running work: rules decide, edges do the I/O."""
