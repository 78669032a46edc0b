//! Usage notation of commands, parsed for COMMAND DOCS and the generated documentation.
