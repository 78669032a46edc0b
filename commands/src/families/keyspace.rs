//! Placeholder of a family being written.

use crate::command::Command;

/// Rows of this family.
pub const COMMANDS: &[Command] = &[];
