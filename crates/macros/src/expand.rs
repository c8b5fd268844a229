//! What the attributes generate.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, ReturnType};

use crate::arguments::Arguments;
use crate::function::Function;

pub(crate) fn asset(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let key = arguments.text("key")?.unwrap_or_else(|| name_of(function));
    let group = arguments.text("group")?.map(|group| quote!(.group(#group)));
    let kinds = arguments.texts("kinds")?;
    let deps = arguments.texts("deps")?;
    let partitions = arguments.path("partitions")?.map(|path| quote!(.partitions(&#path())));
    arguments.finish("key, group, kinds, deps, partitions")?;
    let returned = returned(function)?;
    let description = &function.description;
    expand(
        function,
        &quote!(::catchment::AssetContext),
        &quote!(::catchment::AssetDefinition),
        &quote_spanned!(returned.span()=> ::catchment::AssetDefinition::new::<#returned>(#key)),
        &quote!(#group .kinds([#(#kinds),*]).deps([#(#deps),*]) #partitions .description(#description)),
    )
}

pub(crate) fn sensor(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| name_of(function));
    let jobs = arguments.texts("jobs")?;
    let interval = arguments.integer("minimum_interval_s")?.map(|seconds| quote!(.minimum_interval_s(#seconds)));
    let running = match arguments.path("default")? {
        None => false,
        Some(path) if path.is_ident("stopped") => false,
        Some(path) if path.is_ident("running") => true,
        Some(other) => return Err(syn::Error::new(other.span(), "a sensor is `running` or `stopped` by default")),
    };
    arguments.finish("name, jobs, minimum_interval_s, default")?;
    let returned = returned(function)?;
    let description = &function.description;
    expand(
        function,
        &quote!(::catchment::SensorContext),
        &quote!(::catchment::SensorDefinition),
        &quote_spanned!(returned.span()=> ::catchment::SensorDefinition::new::<#returned>(#name)),
        &quote!(.jobs([#(#jobs),*]) #interval .running_by_default(#running) .description(#description)),
    )
}

pub(crate) fn claim_handler(arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    arguments.finish("nothing")?;
    let returned = returned(function)?;
    expand(
        function,
        &quote!(::catchment::ClaimContext),
        &quote!(::catchment::ClaimHandler),
        &quote_spanned!(returned.span()=> ::catchment::ClaimHandler::new::<#returned>()),
        &quote!(),
    )
}

/// The type `name` with `call`, and the function `name` that answers the definition.
fn expand(
    function: &Function,
    context: &TokenStream,
    definition: &TokenStream,
    constructor: &TokenStream,
    settings: &TokenStream,
) -> syn::Result<TokenStream> {
    let (name, visibility, attributes) = (&function.item.sig.ident, &function.item.vis, &function.item.attrs);
    let (inputs, output, block) = (&function.item.sig.inputs, &function.item.sig.output, &function.item.block);
    let fields: Vec<_> = (0..function.arguments.len()).map(|i| format_ident!("argument_{i}")).collect();
    let needs = function.arguments.iter().map(|(argument, ty)| {
        quote_spanned!(ty.span()=> .needs(<#ty as ::catchment::FromContext<#context>>::needs(#argument)))
    });
    let extract = function.arguments.iter().zip(&fields).map(|((argument, ty), field)| {
        quote_spanned! {ty.span()=>
            let #field = <#ty as ::catchment::FromContext<#context>>::from_context(&context, #argument).await?;
        }
    });
    let returned = returned(function)?;
    let result = quote_spanned! {returned.span()=>
        <#returned as ::catchment::Returned>::into_result(#name::call(#(#fields),*).await)
    };
    let about_type = format!("The function behind `{name}()`: `{name}::call(…)` runs it with arguments of one's own.");
    let about_definition = format!("The definition `{name}`, to be listed in a location's definitions.");
    Ok(quote! {
        #[doc = #about_type]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        impl #name {
            #(#attributes)*
            #[allow(clippy::unused_async)]
            #visibility async fn call(#inputs) #output #block
        }

        #[doc = #about_definition]
        #visibility fn #name() -> #definition {
            #constructor #settings #(#needs)* .body(|context| async move {
                let _ = &context;
                #(#extract)*
                #result
            })
        }
    })
}

fn name_of(function: &Function) -> LitStr {
    LitStr::new(&function.item.sig.ident.to_string(), function.item.sig.ident.span())
}

/// The type in `-> T`.
fn returned(function: &Function) -> syn::Result<&syn::Type> {
    match &function.item.sig.output {
        ReturnType::Type(_, ty) => Ok(ty),
        ReturnType::Default => Err(syn::Error::new(
            function.item.sig.ident.span(),
            "this function has to return a Result, such as `Result<T, Problem>`",
        )),
    }
}
