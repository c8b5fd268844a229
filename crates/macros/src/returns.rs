//! The type that a function returns, as far as it can be read from how it is written.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{GenericArgument, PathArguments, PathSegment, ReturnType, Signature, Type, TypeTuple};

/// The type in `-> T`.
pub(crate) fn returned(signature: &Signature) -> syn::Result<&Type> {
    match &signature.output {
        ReturnType::Type(_, ty) => Ok(ty),
        ReturnType::Default => Err(syn::Error::new(
            signature.ident.span(),
            "this function has to return a Result, such as `Result<T, Problem>`",
        )),
    }
}

/// The `T` of what is written as `Result<T, E>`.
pub(crate) fn inside_result(ty: &Type) -> Option<&Type> {
    argument_of(ty, "Result")
}

/// The types of the tuple in `Result<(A, B), E>`.
pub(crate) fn tuple(ty: &Type, names: usize) -> syn::Result<&TypeTuple> {
    match inside_result(ty) {
        Some(Type::Tuple(tuple)) if tuple.elems.len() == names => Ok(tuple),
        _ => {
            let what = format!("{names} outputs are named, so this has to be `Result<(…), E>` with {names} types");
            Err(syn::Error::new(ty.span(), what))
        }
    }
}

/// What a value of the op flows through, given the `T` of its `Result<T, E>`, and how it is got.
pub(crate) fn wire(given: &Type, name: &str) -> (TokenStream, TokenStream) {
    if let Some(each) = argument_of(given, "Vec").and_then(|item| argument_of(item, "DynamicOutput")) {
        return (quote!(::catchment::DynamicWire<#each>), quote!(added.dynamic(#name)));
    }
    let value = match given {
        Type::Tuple(pair) if pair.elems.len() == 2 && last(&pair.elems[1]).is_some_and(is("Materialization")) => {
            &pair.elems[0]
        }
        other => argument_of(other, "Optional").unwrap_or(other),
    };
    let value = if last(value).is_some_and(is("Staged")) { quote!(::catchment::Committed) } else { quote!(#value) };
    (quote!(::catchment::Wire<#value>), quote!(added.wire(#name)))
}

/// The first type argument of a path that ends in `name<T, …>`.
pub(crate) fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let segment = last(ty).filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn last(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

fn is(name: &'static str) -> impl Fn(&PathSegment) -> bool {
    move |segment| segment.ident == name
}
