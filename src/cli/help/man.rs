//! `--man`: the manual page.

use std::io;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::sections::{ENVIRONMENT, EXAMPLES, EXIT, MODEL, SIGNALS, Section};
use crate::cli::say::POOL_RUN;

/// The page, in roff.
pub(crate) fn man(command: &Command) -> io::Result<String> {
    let name = command.get_name().to_owned();
    // Hidden from `-h`, they would have no text here.
    let command = command.clone().mut_args(|arg| arg.hide_short_help(false));
    // Without a date, so that the page is the same whenever it is made. A space, because nothing would be left out.
    let man = Man::new(command).date(" ").manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut model = Roff::new();
    MODEL.iter().for_each(|section| section.write(&mut model, "SS", &name));
    page.extend_from_slice(model.render().as_bytes());
    let mut options = Vec::new();
    man.render_options_section(&mut options)?;
    page.extend_from_slice(one_section(&String::from_utf8_lossy(&options)).as_bytes());
    let mut rest = Roff::new();
    for section in [&EXIT, &SIGNALS, &ENVIRONMENT, &EXAMPLES] {
        section.write(&mut rest, "SH", &name);
    }
    page.extend_from_slice(rest.render().as_bytes());
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Options have a section for each heading; the manual has one for all of them.
fn one_section(options: &str) -> String {
    let mut page = String::from(".SH OPTIONS\n");
    for line in options.lines() {
        match line.strip_prefix(".SH ") {
            Some("OPTIONS") => {}
            Some(heading) => {
                let (first, rest) = heading.split_at(heading.len().min(1));
                page.push_str(&format!(".SS {first}{}\n", rest.to_lowercase()));
            }
            None => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

impl Section {
    fn write(&self, roff: &mut Roff, level: &str, name: &str) {
        let title = if level == "SH" { self.title.to_uppercase() } else { self.title.to_owned() };
        roff.control(level, [title.as_str()]);
        if !self.text.is_empty() {
            roff.text([roman(self.text)]);
        }
        for (head, text) in self.rows {
            roff.control("TP", []);
            roff.text([bold(head.replace(POOL_RUN, name))]);
            roff.text([roman(*text)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::options::command;

    #[test]
    fn the_page_has_its_sections_in_the_usual_order() {
        let page = man(&command()).unwrap();
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        let sections: Vec<&str> = sections.iter().map(|name| name.trim_matches('"')).collect();
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "EXIT STATUS",
                "SIGNALS",
                "ENVIRONMENT",
                "EXAMPLES"
            ]
        );
        assert!(page.contains("\n.SS Running\n") && page.contains("\\-\\-unordered"), "{page}");
    }
}
