//! Assets, ops and checks: what runs as a step.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Expr, ExprLit, Lit, LitStr, Type};

use crate::arguments::Arguments;
use crate::function::Function;
use crate::returns::{argument_of, inside_result, returned, tuple, wire};

pub(crate) fn asset(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let key = arguments.text("key")?.unwrap_or_else(|| function.name());
    let settings = asset_settings(&mut arguments)?;
    let outputs = Outputs::One(returned(&function.item.sig)?);
    arguments.finish()?;
    let op = op_of(function, &key, &outputs);
    Ok(expand(function, &quote!(AssetDefinition), &quote!(::catchment::AssetDefinition::of(#op) #settings), None))
}

pub(crate) fn multi_asset(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let keys = arguments.texts("assets")?;
    let can_subset = arguments.flag("can_subset")?.then(|| quote!(.can_subset()));
    let settings = asset_settings(&mut arguments)?;
    arguments.finish()?;
    if keys.len() < 2 {
        let what = "`assets = [\"a\", \"b\"]` is missing: the keys of the assets, in the order of the tuple";
        return Err(syn::Error::new(proc_macro2::Span::call_site(), what));
    }
    let outputs = Outputs::several(&keys, function)?;
    let op = op_of(function, &name, &outputs);
    let made = quote!(::catchment::AssetDefinition::several(#op, [#(#keys),*]) #settings #can_subset);
    Ok(expand(function, &quote!(AssetDefinition), &made, None))
}

pub(crate) fn observable_source_asset(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let key = arguments.text("key")?.unwrap_or_else(|| function.name());
    let settings = asset_settings(&mut arguments)?;
    arguments.finish()?;
    let op = op_of(function, &key, &Outputs::One(returned(&function.item.sig)?));
    let made = quote!(::catchment::AssetDefinition::of(#op) #settings .observes());
    Ok(expand(function, &quote!(AssetDefinition), &made, None))
}

pub(crate) fn op(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let names = arguments.texts("outputs")?;
    let manager = arguments.text("io_manager")?.map(|manager| quote!(.io_manager(#manager)));
    let settings = step_settings(&mut arguments)?;
    arguments.finish()?;
    let outputs = if names.is_empty() {
        Outputs::One(returned(&function.item.sig)?)
    } else {
        Outputs::several(&names, function)?
    };
    let op = op_of(function, &name, &outputs);
    let made = quote!(#op #manager #settings);
    Ok(expand(function, &quote!(OpDefinition), &made, Some(node(function, &outputs))))
}

pub(crate) fn asset_check(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let asset = arguments.required_text("asset", "the key of the asset that is checked")?;
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let blocking = arguments.flag("blocking")?;
    let deps = arguments.texts("deps")?;
    let automation = arguments.take("automation").map(|condition| quote!(.automation(#condition)));
    let settings = step_settings(&mut arguments)?;
    arguments.finish()?;
    let op = op_of(function, &name, &Outputs::One(returned(&function.item.sig)?));
    let made = quote! {
        ::catchment::CheckDefinition::of(#asset, #name, #op)
            .blocking(#blocking).deps([#(#deps),*]) #automation #settings
    };
    Ok(expand(function, &quote!(CheckDefinition), &made, None))
}

/// The outputs of a function: the type that it returns, or the types of the tuple in it with their names.
enum Outputs<'a> {
    One(&'a Type),
    Several(&'a Type, Vec<(&'a LitStr, &'a Type)>),
}

impl<'a> Outputs<'a> {
    fn several(names: &'a [LitStr], function: &'a Function) -> syn::Result<Self> {
        let ty = returned(&function.item.sig)?;
        Ok(Self::Several(ty, names.iter().zip(&tuple(ty, names.len())?.elems).collect()))
    }

    fn returned(&self) -> &'a Type {
        match self {
            Self::One(ty) | Self::Several(ty, _) => ty,
        }
    }
}

/// The op: what its arguments need, its outputs, and its body.
fn op_of(function: &Function, name: &LitStr, outputs: &Outputs<'_>) -> TokenStream {
    let ty = outputs.returned();
    let needs = function.arguments.iter().map(|(argument, ty)| {
        quote_spanned! {ty.span()=>
            .needs(<#ty as ::catchment::FromContext<::catchment::StepContext>>::needs(#argument),
                (&&&::catchment::Probe::<#ty>::NEW).codec())
        }
    });
    let (call, result) = (function.extract(&quote!(::catchment::StepContext)), function.call());
    let result = quote_spanned!(ty.span()=> <#ty as ::catchment::Returned>::into_result(#result.await)?);
    let probe = |ty: TokenStream| quote_spanned!(ty.span()=> (&&&&&&::catchment::Probe::<#ty>::NEW));
    let (ports, given) = match outputs {
        Outputs::One(ty) => {
            let probe = probe(quote_spanned!(ty.span()=> <#ty as ::catchment::Returned>::Value));
            let port = quote_spanned!(ty.span()=> .output(#probe.port("result")));
            (port, quote_spanned!(ty.span()=> vec![#probe.give(#result)]))
        }
        Outputs::Several(_, outputs) => {
            let fields: Vec<_> = (0..outputs.len()).map(|i| format_ident!("output_{i}")).collect();
            let probes: Vec<_> = outputs.iter().map(|(_, ty)| probe(quote!(#ty))).collect();
            let names = outputs.iter().map(|(name, _)| name);
            let given = quote!({ let (#(#fields),*) = #result; vec![#(#probes.give(#fields)),*] });
            (quote!(#(.output(#probes.port(#names)))*), given)
        }
    };
    quote_spanned! {ty.span()=>
        ::catchment::OpDefinition::new::<#ty>(#name) #(#needs)* #ports .body(|context| async move {
            let _ = &context;
            #call
            Ok(#given)
        })
    }
}

/// `node(g, …)`: a wire for each argument that takes a value.
fn node(function: &Function, outputs: &Outputs<'_>) -> TokenStream {
    let visibility = &function.item.vis;
    let name = &function.item.sig.ident;
    let (mut parameters, mut bindings) = (Vec::new(), Vec::new());
    for (at, (argument, ty)) in function.arguments.iter().enumerate() {
        let parameter = format_ident!("input_{at}");
        if let Some(value) = argument_of(ty, "Input") {
            parameters.push(quote!(#parameter: ::catchment::Wire<#value>));
            bindings.push(quote!((#argument, #parameter.into())));
        } else if let Some(value) = argument_of(ty, "Inputs") {
            parameters.push(quote!(#parameter: impl Into<::catchment::Wires<#value>>));
            bindings.push(quote!((#argument, Into::<::catchment::Wires<#value>>::into(#parameter).into())));
        }
    }
    let (wires, got): (TokenStream, TokenStream) = match outputs {
        Outputs::One(ty) => match inside_result(ty) {
            Some(given) => wire(given, "result"),
            None => (quote!(::catchment::Wire<<#ty as ::catchment::Returned>::Value>), quote!(added.wire("result"))),
        },
        Outputs::Several(_, list) => {
            let (types, got): (Vec<_>, Vec<_>) = list.iter().map(|(name, ty)| wire(ty, &name.value())).unzip();
            (quote!((#(#types),*)), quote!((#(#got),*)))
        }
    };
    let about = format!("Puts `{name}` into a graph.");
    quote! {
        #[doc = #about]
        #[allow(dead_code)]
        #visibility fn node(g: &mut ::catchment::Graph #(, #parameters)*) -> #wires {
            let added = g.op(#name(), vec![#(#bindings),*]);
            #got
        }
    }
}

/// Settings of every step.
fn step_settings(arguments: &mut Arguments) -> syn::Result<TokenStream> {
    let kinds = arguments.texts("kinds")?;
    let tags = arguments.pairs("tags")?.into_iter().map(|(key, value)| quote!(.tag(#key, #value)));
    let pool = arguments.text("pool")?.map(|pool| quote!(.pool(#pool)));
    let version = arguments.text("code_version")?.map(|version| quote!(.code_version(#version)));
    let retry = arguments.take("retry").map(|retry| match &retry {
        Expr::Lit(ExprLit { lit: Lit::Int(times), .. }) => {
            quote!(.retry(::catchment::RetryPolicy { max_retries: #times, ..Default::default() }))
        }
        policy => quote!(.retry(#policy)),
    });
    let hooks = arguments.paths("hooks")?;
    Ok(quote!(.kinds([#(#kinds),*]) #(#tags)* #pool #version #retry #(.hook(#hooks()))*))
}

/// Settings of assets.
fn asset_settings(arguments: &mut Arguments) -> syn::Result<TokenStream> {
    let group = arguments.text("group")?.map(|group| quote!(.group(#group)));
    let deps = arguments.texts("deps")?;
    let partitions = arguments.path("partitions")?.map(|path| quote!(.partitions(&#path())));
    let mappings = arguments.pairs("mappings")?.into_iter().map(|(key, mapping)| quote!(.mapping(#key, #mapping)));
    let owners = arguments.texts("owners")?;
    let metadata = arguments.pairs("metadata")?.into_iter().map(|(name, value)| quote!(.metadata(#name, #value)));
    let manager = arguments.text("io_manager")?.map(|manager| quote!(.io_manager(#manager)));
    let expression = |value: Option<Expr>, method: &str| {
        let method = format_ident!("{method}");
        value.map(|value| quote!(.#method(#value)))
    };
    let automation = expression(arguments.take("automation"), "automation");
    let freshness = expression(arguments.take("freshness"), "freshness");
    let backfill = expression(arguments.take("backfill_policy"), "backfill_policy");
    let checks = arguments.texts("checks")?;
    let blocking_checks = arguments.texts("blocking_checks")?;
    let settings = step_settings(arguments)?;
    Ok(quote! {
        #group .deps([#(#deps),*]) #partitions #(#mappings)* .owners([#(#owners),*]) #(#metadata)* #manager
        #automation #freshness #backfill #(.reports_check(#checks))*
        #(.reports_blocking_check(#blocking_checks))* #settings
    })
}

/// The type `name` with `call` (and `node`), and the function `name` that answers the definition.
fn expand(function: &Function, definition: &TokenStream, made: &TokenStream, node: Option<TokenStream>) -> TokenStream {
    let description = &function.description;
    let levels = quote! {
        #[allow(unused_imports)]
        use ::catchment::probe::levels::*;
    };
    function.expand(&quote!(::catchment::#definition), &quote!(#levels #made .description(#description)), node)
}
