//! What a job is called with: `arguments` makes a call of an input, `template` fills a command's holes.

mod arguments;
mod template;

pub(crate) use arguments::{Arguments, Style};
