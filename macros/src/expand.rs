//! What the attribute leaves behind: the function as it was, and an entry in the list of the binary's jobs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, Lit, Meta, Type, parse_quote};

use crate::options::Options;
use crate::signature::Function;

/// The expansion. After an error the function is still there, so that nothing but the error is reported.
pub(crate) fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    let added = entry(options, item.clone()).unwrap_or_else(|error| error.into_compile_error());
    quote!(#item #added)
}

fn entry(options: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: Function = syn::parse2(item)?;
    let options: syn::Result<Options> = syn::parse2(options);
    match (options, function.check()) {
        (Ok(options), Ok(())) => Ok(definition(&options, &function)),
        (Err(mut error), Err(other)) => {
            error.combine(other);
            Err(error)
        }
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
    }
}

fn definition(options: &Options, function: &Function) -> TokenStream {
    let ident = &function.sig.ident;
    let name = options.name.as_ref().map_or_else(|| ident.unraw().to_string(), |name| name.value());
    let arg_names = function.argument_names();
    let doc = first_paragraph(&function.attrs);
    let cfgs = function.attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    let line = quote_spanned!(ident.span().resolved_at(Span::mixed_site())=> ::core::line!());
    let types: Vec<&Type> = function.argument_types().collect();
    let unit: Type = parse_quote!(());
    let result = function.result().unwrap_or(&unit);
    let fits = types.iter().map(|ty| quote_spanned!(ty.span()=> ::sidestep::__private::argument::<#ty>()));
    let result_fits = quote_spanned!(result.span()=> ::sidestep::__private::result::<#result>());
    // Names of their own, so that a job may be named like one of them.
    let [def, registry] = ["def", "registry"].map(|name| Ident::new(name, Span::mixed_site()));
    quote! {
        #(#cfgs)*
        #[allow(deprecated)]
        const _: () = {
            use ::sidestep::__private::{Fit as _, Unfit as _};
            #[::sidestep::__private::linkme::distributed_slice(::sidestep::__private::JOBS)]
            #[linkme(crate = ::sidestep::__private::linkme)]
            static __SIDESTEP_JOB: ::sidestep::__private::JobDef = ::sidestep::__private::JobDef {
                name: #name,
                arg_names: &[#(#arg_names),*],
                doc: #doc,
                file: ::core::file!(),
                line: #line,
                add: |#def, #registry| {
                    ::sidestep::__private::Types::<(#(#types,)*), #result>::new()
                        .add_sidestep_job(#def, #registry, #ident)
                },
            };
            // Where a type cannot travel, the compiler points at it here, and only here.
            const _: fn() = || {
                #(#fits;)*
                #result_fits;
            };
        };
    }
}

/// The first paragraph of the doc comment, on one line.
fn first_paragraph(attrs: &[Attribute]) -> String {
    let texts: Vec<String> = attrs.iter().filter_map(doc_text).collect();
    let lines = texts.iter().flat_map(|text| {
        // In a block comment the lines may begin with stars.
        let block = text.contains('\n');
        text.split('\n')
            .map(move |line| if block { line.trim().trim_start_matches('*') } else { line }.trim())
    });
    let paragraph = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
    paragraph.collect::<Vec<_>>().join(" ")
}

/// The text of a `#[doc = "…"]`, which is what a doc comment is to the compiler.
fn doc_text(attr: &Attribute) -> Option<String> {
    match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(function: &str) -> String {
        first_paragraph(&syn::parse_str::<Function>(function).unwrap().attrs)
    }

    #[test]
    fn the_doc_line_is_the_first_paragraph() {
        assert_eq!(
            doc("///\n/// Adds two\n/// * numbers.\n///\n/// More.\nfn f() {}"),
            "Adds two * numbers."
        );
        assert_eq!(doc("/**\n * Adds\n * two.\n *\n * More.\n */\nfn f() {}"), "Adds two.");
        assert_eq!(doc("/** Adds. */ #[doc(hidden)] fn f() {}"), "Adds.");
        assert_eq!(doc("fn f() {}"), "");
    }

    #[test]
    fn after_an_error_the_function_is_still_there() {
        let function = quote!(
            async fn f() {}
        );
        for options in [quote!(), quote!(nam = "x")] {
            let text = job(options, function.clone()).to_string();
            assert!(text.starts_with("async fn f () { }") && text.contains("compile_error"), "{text}");
        }
    }

    #[test]
    fn the_entry_is_under_the_function_s_conditions() {
        let text = job(
            quote!(),
            quote!(
                #[cfg(unix)]
                #[must_use]
                #[inline]
                fn f() -> u8 {
                    1
                }
            ),
        )
        .to_string();
        assert_eq!(text.matches("# [cfg (unix)]").count(), 2);
        assert_eq!(text.matches("must_use").count() + text.matches("inline").count(), 2);
    }
}
