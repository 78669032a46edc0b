//! Origins of values: which may be asked, and what exactly. Asking them is the shell's.

pub mod address;
pub mod template;
