//! What a job is called with: `arguments` makes a call of an input, `template` fills a command's holes, `shown` tells what is
//! called.

mod arguments;
mod shown;
mod template;

pub(crate) use arguments::{Arguments, Style};
