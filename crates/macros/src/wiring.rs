//! Graphs and jobs: functions that wire ops.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{FnArg, ItemFn, LitStr, Pat, ReturnType, Type};

use crate::arguments::Arguments;
use crate::function::description;

/// A plain `fn` whose first argument is the graph, and whose others are wires.
pub(crate) struct Wiring {
    item: ItemFn,
    /// The name and type of each argument after the graph.
    inputs: Vec<(LitStr, Type)>,
    description: String,
}

impl Parse for Wiring {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let item: ItemFn = input.parse()?;
        if let Some(word) = &item.sig.asyncness {
            return Err(syn::Error::new(
                word.span(),
                "this function wires ops and runs none: write `fn`, without async",
            ));
        }
        let mut arguments = item.sig.inputs.iter();
        if arguments.next().is_none() {
            return Err(syn::Error::new(item.sig.ident.span(), "the first argument has to be `g: &mut Graph`"));
        }
        let inputs = arguments.map(input_of).collect::<syn::Result<_>>()?;
        let description = description(&item.attrs);
        Ok(Self { item, inputs, description })
    }
}

fn input_of(argument: &FnArg) -> syn::Result<(LitStr, Type)> {
    match argument {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(name) => Ok((LitStr::new(&name.ident.to_string(), name.ident.span()), (*typed.ty).clone())),
            other => Err(syn::Error::new(other.span(), "an input of a graph needs a name")),
        },
        FnArg::Receiver(other) => Err(syn::Error::new(other.span(), "a graph is a free function, without `self`")),
    }
}

pub(crate) fn graph(mut arguments: Arguments, wiring: &Wiring) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| wiring.name());
    arguments.finish()?;
    Ok(wiring.expand(&name, &quote!(::catchment::GraphDefinition), &quote!(), true))
}

pub(crate) fn job(mut arguments: Arguments, wiring: &Wiring) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| wiring.name());
    let tags = arguments.pairs("tags")?.into_iter().map(|(key, value)| quote!(.tag(#key, #value)));
    let partitions = arguments.path("partitions")?.map(|path| quote!(.partitions(&#path())));
    let concurrency = arguments.take("concurrency").map(|steps| quote!(.concurrency(#steps)));
    let config = arguments.take("config").map(|config| quote!(.config(#config)));
    let hooks = arguments.paths("hooks")?;
    arguments.finish()?;
    let settings = quote!(.to_job(#name) #(#tags)* #partitions #concurrency #config #(.hook(#hooks()))*);
    Ok(wiring.expand(&name, &quote!(::catchment::JobDefinition), &settings, false))
}

impl Wiring {
    fn name(&self) -> LitStr {
        LitStr::new(&self.item.sig.ident.to_string(), self.item.sig.ident.span())
    }

    /// The type `name` with `wire` (and `node`), and the function `name` that answers the definition.
    fn expand(&self, graph: &LitStr, definition: &TokenStream, settings: &TokenStream, is_graph: bool) -> TokenStream {
        let (name, visibility, attributes) = (&self.item.sig.ident, &self.item.vis, &self.item.attrs);
        let (arguments, output, block) = (&self.item.sig.inputs, &self.item.sig.output, &self.item.block);
        let fields = self.inputs.iter().enumerate();
        let fields: Vec<_> = fields.map(|(i, (_, ty))| format_ident!("input_{i}", span = ty.span())).collect();
        let types: Vec<_> = self.inputs.iter().map(|(_, ty)| ty).collect();
        let take = self.inputs.iter().zip(&fields).map(|((input, ty), field)| {
            quote_spanned!(ty.span()=> let #field = <#ty as ::catchment::GraphInput>::of(&mut g, #input);)
        });
        let outputs = match output {
            ReturnType::Default => quote!(()),
            ReturnType::Type(_, ty) => quote!(#ty),
        };
        let description = &self.description;
        let bindings = self
            .inputs
            .iter()
            .zip(&fields)
            .map(|((input, ty), field)| quote_spanned!(ty.span()=> (#input, #field.into())));
        let finished = quote_spanned!(outputs.span()=> g.finish(#description, outputs));
        let node = is_graph.then(|| {
            quote_spanned! {outputs.span()=>
                /// Puts it into another graph.
                #[allow(dead_code)]
                #visibility fn node(g: &mut ::catchment::Graph #(, #fields: #types)*) #output {
                    let added = g.graph(#name(), vec![#(#bindings),*]);
                    <#outputs as ::catchment::GraphOutputs>::of(&added)
                }
            }
        });
        let about_type = format!("The function behind `{name}()`: it wires ops.");
        let about_definition = format!("The definition `{name}`, to be listed in a location's definitions.");
        quote! {
            #[doc = #about_type]
            #[allow(non_camel_case_types)]
            #visibility enum #name {}

            impl #name {
                #(#attributes)*
                fn wire(#arguments) #output #block

                #node
            }

            #[doc = #about_definition]
            #visibility fn #name() -> #definition {
                let mut g = ::catchment::Graph::new(#graph);
                #(#take)*
                let outputs = #name::wire(&mut g #(, #fields)*);
                #finished #settings
            }
        }
    }
}
