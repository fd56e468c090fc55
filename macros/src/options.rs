//! What stands in the attribute's parentheses.

use syn::parse::{Parse, ParseStream};
use syn::{Error, Ident, LitStr, Result, Token};

/// The options of one `#[job(…)]`.
#[derive(Default)]
pub(crate) struct Options {
    /// The job's name, if it is not to be the function's.
    pub(crate) name: Option<LitStr>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut options = Options::default();
        while !input.is_empty() {
            options.take(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

impl Options {
    fn take(&mut self, input: ParseStream<'_>) -> Result<()> {
        let known = |found: &Ident| *found == "name" && input.peek(Token![=]);
        let usage = "the only option of #[job] is its name, as in #[job(name = \"resize\")]";
        let option: Ident = input.parse().map_err(|error| Error::new(error.span(), usage))?;
        if !known(&option) {
            return Err(Error::new(option.span(), usage));
        }
        input.parse::<Token![=]>()?;
        let name: LitStr = input.parse().map_err(|error| {
            Error::new(error.span(), "a job's name is a string literal, as in \"resize\"")
        })?;
        if name.value().trim().is_empty() {
            return Err(Error::new(
                name.span(),
                "a job's name cannot be empty; leave it out to use the function's",
            ));
        }
        if self.name.is_some() {
            return Err(Error::new(option.span(), "the name is given twice; keep one of the two"));
        }
        self.name = Some(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> std::result::Result<Option<String>, String> {
        match syn::parse_str::<Options>(text) {
            Ok(options) => Ok(options.name.map(|name| name.value())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_name_is_all_there_is() {
        assert_eq!(outcome(""), Ok(None));
        assert_eq!(outcome("name = \"a b\","), Ok(Some("a b".into())));
        for (text, part) in [
            ("nam = \"x\"", "only option"),
            ("name", "only option"),
            ("\"x\"", "only option"),
            ("name = 5", "string literal"),
            ("name = \" \"", "cannot be empty"),
            ("name = \"a\", name = \"b\"", "twice"),
        ] {
            assert!(outcome(text).unwrap_err().contains(part), "{text}");
        }
    }
}
