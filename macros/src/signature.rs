//! What can be a job: every rule that the attribute can check, with a message that says what to do instead.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Pat, PatType, PathArguments, Result, ReturnType, Safety,
    Signature, Type, Visibility,
};

/// As many as `sidestep::Job` is implemented for.
const MOST_ARGUMENTS: usize = 8;

/// The function under the attribute. Its body is not looked at, so that it may use syntax newer than the
/// parser.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) sig: Signature,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Function> {
        let attrs = input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let begin = input.span();
        let sig: Signature =
            input.parse().map_err(|_| Error::new(begin, "#[job] goes on a function, and this is none"))?;
        if !input.peek(syn::token::Brace) {
            return Err(Error::new(
                sig.span(),
                "a job has a body: #[job] goes where the function is defined",
            ));
        }
        input.parse::<TokenStream>()?;
        Ok(Function { attrs, sig })
    }
}

impl Function {
    /// Every reason why the function is no job, as one error.
    pub(crate) fn check(&self) -> Result<()> {
        let mut problems = Problems(None);
        let sig = &self.sig;
        if let Some(keyword) = &sig.asyncness {
            problems.add(
                keyword,
                "a job is an ordinary function: remove `async`, and block on an executor inside",
            );
        }
        if !matches!(sig.safety, Safety::Default) {
            problems
                .add(&sig.safety, "a job must be safe to call with any arguments: keep the `unsafe` inside");
        }
        if let Some(abi) = &sig.abi {
            problems.add(abi, "a job is a Rust function: remove the ABI, or call this function from a job");
        }
        if let Some(dots) = &sig.variadic {
            problems.add(dots, "a job has a fixed number of arguments; take a Vec for a list");
        }
        if !sig.generics.params.is_empty() {
            problems.add(
                &sig.generics,
                "a job cannot be generic: the other process finds it by name, so its types are fixed; \
                 write one job for each type",
            );
        }
        self.check_arguments(&mut problems);
        self.check_result(&mut problems);
        problems.0.map_or(Ok(()), Err)
    }

    fn check_arguments(&self, problems: &mut Problems) {
        for input in &self.sig.inputs {
            match input {
                FnArg::Receiver(receiver) => problems.add(
                    receiver,
                    "a job is a free function, not a method: take the value as an ordinary argument",
                ),
                FnArg::Typed(argument) => check_argument(argument, problems),
            }
        }
        if let Some(ninth) = self.sig.inputs.iter().nth(MOST_ARGUMENTS) {
            problems.add(ninth, "a job has at most 8 arguments; put some of them into a struct or a tuple");
        }
    }

    fn check_result(&self, problems: &mut Problems) {
        match self.result() {
            None => {}
            Some(Type::Never(never)) => problems.add(never, "a job must be able to return: remove the `!`"),
            Some(ty) => {
                if let Some(unfit) = unfit(ty) {
                    unfit.report(problems, "return", "results travel back from another process");
                }
            }
        }
    }

    /// The types of its arguments.
    pub(crate) fn argument_types(&self) -> impl Iterator<Item = &Type> {
        self.arguments().map(|argument| &*argument.ty)
    }

    /// The names of its arguments, empty where a pattern stands.
    pub(crate) fn argument_names(&self) -> impl Iterator<Item = String> {
        self.arguments().map(|argument| match &*argument.pat {
            Pat::Ident(pattern) => syn::ext::IdentExt::unraw(&pattern.ident).to_string(),
            _ => String::new(),
        })
    }

    fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The type after the arrow.
    pub(crate) fn result(&self) -> Option<&Type> {
        match &self.sig.output {
            ReturnType::Default => None,
            ReturnType::Type(_, ty) => Some(ty),
        }
    }
}

fn check_argument(argument: &PatType, problems: &mut Problems) {
    if let Some(attr) = argument.attrs.iter().find(|attr| attr.path().is_ident("cfg")) {
        problems.add(attr, "a job has the same arguments in every build: put the #[cfg] on the function");
    }
    if let Some(unfit) = unfit(&argument.ty) {
        unfit.report(problems, "take", "arguments travel to another process");
    }
}

/// Collects errors, so that all of them are shown at once.
struct Problems(Option<Error>);

impl Problems {
    fn add(&mut self, place: &impl ToTokens, message: &str) {
        let error = Error::new_spanned(place, message);
        match &mut self.0 {
            None => self.0 = Some(error),
            Some(all) => all.combine(error),
        }
    }
}

/// A part of a type that keeps it from travelling.
enum Unfit<'a> {
    Borrowed(&'a Type),
    Opaque(&'a Type),
    Own(&'a Type),
}

impl Unfit<'_> {
    /// Says so, `verb` being what is to be done with an owned value, and `why`.
    fn report(&self, problems: &mut Problems, verb: &str, why: &str) {
        match self {
            Unfit::Borrowed(part) => problems.add(part, &format!("{verb} {} instead: {why}", owned(part))),
            Unfit::Opaque(part) => {
                problems.add(part, "a job cannot be generic: name the type, so that both processes know it");
            }
            Unfit::Own(part) => problems.add(part, "a job is a free function: move it out of the `impl`"),
        }
    }
}

/// The first such part.
fn unfit(ty: &Type) -> Option<Unfit<'_>> {
    match ty {
        Type::Reference(_) => Some(Unfit::Borrowed(ty)),
        Type::ImplTrait(_) => Some(Unfit::Opaque(ty)),
        Type::Array(array) => unfit(&array.elem),
        Type::Group(group) => unfit(&group.elem),
        Type::Paren(paren) => unfit(&paren.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(unfit),
        Type::Path(path) if path.path.is_ident("Self") => Some(Unfit::Own(ty)),
        Type::Path(path) => path.path.segments.iter().find_map(|segment| match &segment.arguments {
            PathArguments::AngleBracketed(list) => list.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => unfit(ty),
                _ => None,
            }),
            _ => None,
        }),
        _ => None,
    }
}

/// The owned type to use in place of a borrowed one.
fn owned(ty: &Type) -> String {
    let Type::Reference(reference) = ty else { return "an owned value".into() };
    match &*reference.elem {
        Type::Slice(slice) => format!("Vec<{}>", text_of(&slice.elem)),
        elem => match text_of(elem).as_str() {
            "str" => "String".into(),
            "Path" => "PathBuf".into(),
            "OsStr" => "OsString".into(),
            other => other.into(),
        },
    }
}

/// A type as its author has most likely written it.
fn text_of(ty: &Type) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (spaced, tight) in [(" :: ", "::"), (" < ", "<"), (" >", ">"), (" ,", ","), ("& ", "&")] {
        text = text.replace(spaced, tight);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a function; empty if nothing is.
    fn problems(function: &str) -> Vec<String> {
        let function: Function = syn::parse_str(function).unwrap();
        match function.check() {
            Ok(()) => Vec::new(),
            Err(error) => error.into_iter().map(|error| error.to_string()).collect(),
        }
    }

    #[test]
    fn owned_arguments_are_fine_whatever_their_patterns() {
        let text =
            "pub(crate) const fn r#type((a, b): (u8, u8), mut x: Vec<Option<u8>>, _: [u8; 3], r#in: ()) {}";
        assert_eq!(problems(text), [""; 0]);
        let function: Function = syn::parse_str(text).unwrap();
        assert_eq!(function.argument_names().collect::<Vec<_>>(), ["", "x", "", "in"]);
    }

    #[test]
    fn every_problem_is_named() {
        for (function, part) in [
            ("async fn f() {}", "async"),
            ("unsafe fn f() {}", "unsafe"),
            ("extern \"C\" fn f() {}", "ABI"),
            ("fn f<T>(x: T) {}", "generic"),
            ("fn f<const N: usize>() {}", "generic"),
            ("fn f(x: impl Copy) {}", "generic"),
            ("fn f(&self) {}", "method"),
            ("fn new() -> Result<Self, ()> {}", "free function"),
            ("fn f(x: u8) -> ! { loop {} }", "return"),
            ("fn f() -> impl Copy {}", "name the type"),
            ("fn f(#[cfg(unix)] x: u8) {}", "#[cfg]"),
            ("fn f(a: A, b: A, c: A, d: A, e: A, f: A, g: A, h: A, i: A) {}", "at most 8"),
        ] {
            let problems = problems(function);
            assert!(problems.len() == 1 && problems[0].contains(part), "{function}: {problems:?}");
        }
        assert_eq!(problems("async fn f(x: &str, y: &[u8]) {}").len(), 3);
    }

    #[test]
    fn a_borrowed_type_has_an_owned_counterpart() {
        for (borrowed, wanted) in [
            ("&str", "take String instead"),
            ("&'static mut [a::B<u8>]", "take Vec<a::B<u8>> instead"),
            ("Option<(u8, &Path)>", "take PathBuf instead"),
            ("&Config", "take Config instead"),
        ] {
            let problems = problems(&format!("fn f(x: {borrowed}) {{}}"));
            assert!(problems[0].starts_with(wanted), "{borrowed}: {problems:?}");
        }
    }

    #[test]
    fn only_a_function_with_a_body_is_one() {
        for (item, part) in
            [("struct S;", "goes on a function"), ("fn f();", "body"), ("const C: u8 = 1;", "goes on")]
        {
            let error = syn::parse_str::<Function>(item).err().unwrap().to_string();
            assert!(error.contains(part), "{item}: {error}");
        }
        assert!(syn::parse_str::<Function>("fn f() { syntax of a later day ~ }").is_ok());
    }
}
