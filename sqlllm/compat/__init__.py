"""Names of other libraries on this package's client: `import sqlllm.compat.byzerllm as byzerllm`, `.illufly`."""
