//! What a job is called with: `arguments` makes a call of an input, `template` fills a command's holes, `shown` tells what is
//! called, `tag` what lines of output begin with.

mod arguments;
mod shown;
mod tag;
mod template;

pub(crate) use arguments::{Arguments, Style};
pub(crate) use tag::Tag;
pub(crate) use template::Template;
