//! The function that an attribute stands on.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, FnArg, Ident, ItemFn, Lit, LitStr, Meta, Pat, Type};

/// An `async fn` whose arguments are extractors.
pub(crate) struct Function {
    /// The function, its arguments without `#[from]`.
    pub(crate) item: ItemFn,
    /// Each argument: what it asks for by name, and its type.
    pub(crate) arguments: Vec<(LitStr, Type)>,
    /// Its doc comment as one text.
    pub(crate) description: String,
}

impl Function {
    /// Its name as a text.
    pub(crate) fn name(&self) -> LitStr {
        LitStr::new(&self.item.sig.ident.to_string(), self.item.sig.ident.span())
    }

    fn fields(&self) -> Vec<Ident> {
        (0..self.arguments.len()).map(|i| format_ident!("argument_{i}")).collect()
    }

    /// Takes each argument out of the context.
    pub(crate) fn extract(&self, context: &TokenStream) -> TokenStream {
        self.arguments
            .iter()
            .zip(self.fields())
            .map(|((argument, ty), field)| {
                quote_spanned! {ty.span()=>
                    let #field = <#ty as ::catchment::FromContext<#context>>::from_context(&context, #argument).await?;
                }
            })
            .collect()
    }

    /// Calls the function with what was taken.
    pub(crate) fn call(&self) -> TokenStream {
        let (name, fields) = (&self.item.sig.ident, self.fields());
        quote!(#name::call(#(#fields),*))
    }

    /// The type `name` with `call` and `more`, and the function `name` that answers the definition.
    pub(crate) fn expand(
        &self,
        definition: &TokenStream,
        made: &TokenStream,
        more: Option<TokenStream>,
    ) -> TokenStream {
        let (name, visibility, attributes) = (&self.item.sig.ident, &self.item.vis, &self.item.attrs);
        let (inputs, output, block) = (&self.item.sig.inputs, &self.item.sig.output, &self.item.block);
        let about_type =
            format!("The function behind `{name}()`: `{name}::call(…)` runs it with arguments of one's own.");
        let about_definition = format!("The definition `{name}`, to be listed in a location's definitions.");
        quote! {
            #[doc = #about_type]
            #[allow(non_camel_case_types)]
            #visibility enum #name {}

            impl #name {
                #(#attributes)*
                #[allow(clippy::unused_async)]
                #visibility async fn call(#inputs) #output #block

                #more
            }

            #[doc = #about_definition]
            #visibility fn #name() -> #definition {
                #made
            }
        }
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut item: ItemFn = input.parse()?;
        if item.sig.asyncness.is_none() {
            return Err(syn::Error::new(item.sig.fn_token.span(), "this function has to be async: write `async fn`"));
        }
        if !item.sig.generics.params.is_empty() {
            return Err(syn::Error::new(
                item.sig.generics.span(),
                "a definition has no generic parameters: name the types that it takes",
            ));
        }
        let arguments = item.sig.inputs.iter_mut().map(argument).collect::<syn::Result<_>>()?;
        let description = description(&item.attrs);
        Ok(Self { item, arguments, description })
    }
}

fn argument(input: &mut FnArg) -> syn::Result<(LitStr, Type)> {
    let FnArg::Typed(typed) = input else {
        return Err(syn::Error::new(input.span(), "a definition is a free function, without `self`"));
    };
    let mut named = None;
    for attribute in typed.attrs.iter().filter(|a| a.path().is_ident("from")) {
        named = Some(attribute.parse_args::<LitStr>().map_err(|e| {
            syn::Error::new(e.span(), "`#[from(\"name\")]` takes the name of an asset or resource, in quotes")
        })?);
    }
    typed.attrs.retain(|a| !a.path().is_ident("from"));
    let name = match named {
        Some(name) => name,
        None => own_name(&typed.pat)?,
    };
    Ok((name, (*typed.ty).clone()))
}

/// The name of `name: T` and of `Wrapper(name): T`.
fn own_name(pattern: &Pat) -> syn::Result<LitStr> {
    match pattern {
        Pat::Ident(ident) => Ok(LitStr::new(ident.ident.to_string().trim_start_matches('_'), ident.ident.span())),
        Pat::TupleStruct(tuple) if tuple.elems.len() == 1 => own_name(&tuple.elems[0]),
        other => Err(syn::Error::new(
            other.span(),
            "this argument has no name of its own: name it, or say `#[from(\"name\")]` before it",
        )),
    }
}

pub(crate) fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}
