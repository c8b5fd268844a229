//! Sensors, schedules, hooks, resources and claim handlers: what runs around runs.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use crate::arguments::Arguments;
use crate::function::Function;
use crate::returns::{argument_of, inside_result, returned};

pub(crate) fn sensor(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let settings = sensor_settings(&mut arguments, true)?;
    arguments.finish()?;
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned!(returned.span()=> ::catchment::SensorDefinition::new::<#returned>(#name));
    sensor_of(function, &quote!(#begun #settings))
}

pub(crate) fn run_status_sensor(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let statuses = arguments.paths("statuses")?;
    let monitored = arguments.texts("monitored_jobs")?;
    let all = arguments.flag("monitor_all_locations")?;
    let settings = sensor_settings(&mut arguments, true)?;
    arguments.finish()?;
    if statuses.is_empty() {
        let what = "`statuses = [Failure]` is missing: the statuses of runs (of `RunStatus`) that it is called for";
        return Err(syn::Error::new(proc_macro2::Span::call_site(), what));
    }
    let statuses = statuses.iter().map(|status| match status.get_ident() {
        Some(plain) => quote!(::catchment::RunStatus::#plain),
        None => quote!(#status),
    });
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned! {returned.span()=>
        ::catchment::SensorDefinition::on_run_status::<#returned, _>(#name, [#(#statuses),*])
    };
    sensor_of(function, &quote!(#begun .monitored_jobs([#(#monitored),*]).monitor_all_locations(#all) #settings))
}

pub(crate) fn asset_sensor(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let mut assets = arguments.texts("assets")?;
    assets.extend(arguments.text("asset")?);
    let settings = sensor_settings(&mut arguments, false)?;
    arguments.finish()?;
    if assets.is_empty() {
        let what = "`asset = \"…\"` is missing: the key of the asset whose materialisations it is called for";
        return Err(syn::Error::new(proc_macro2::Span::call_site(), what));
    }
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned! {returned.span()=>
        ::catchment::SensorDefinition::on_assets::<#returned, _>(#name, [#(#assets),*])
    };
    sensor_of(function, &quote!(#begun #settings))
}

fn sensor_settings(arguments: &mut Arguments, may_name_assets: bool) -> syn::Result<TokenStream> {
    let jobs = arguments.texts("jobs")?;
    let assets = if may_name_assets { arguments.texts("assets")? } else { Vec::new() };
    let interval = arguments.take("minimum_interval_s").map(|seconds| quote!(.minimum_interval_s(#seconds)));
    let watch = arguments.text("watch")?.map(|resource| quote!(.watch(#resource)));
    let running = arguments.running("sensor")?;
    Ok(quote!(.jobs([#(#jobs),*]).assets([#(#assets),*]) #interval #watch .running_by_default(#running)))
}

fn sensor_of(function: &Function, begun: &TokenStream) -> syn::Result<TokenStream> {
    let description = &function.description;
    let begun = quote!(#begun .description(#description));
    finish(function, &quote!(::catchment::SensorContext), &quote!(::catchment::SensorDefinition), &begun)
}

pub(crate) fn schedule(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    let cron = arguments.texts("cron")?;
    let job = arguments.required_text("job", "the job that it asks for")?;
    let zone = arguments.text("timezone")?.map(|zone| quote!(.timezone(#zone)));
    let tags = arguments.pairs("tags")?.into_iter().map(|(key, value)| quote!(.tag(#key, #value)));
    let running = arguments.running("schedule")?;
    arguments.finish()?;
    if cron.is_empty() {
        let what = "`cron = \"0 3 * * *\"` is missing: when it asks";
        return Err(syn::Error::new(proc_macro2::Span::call_site(), what));
    }
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned! {returned.span()=>
        ::catchment::ScheduleDefinition::of::<#returned, _>(#name, [#(#cron),*], #job)
    };
    let description = &function.description;
    let begun = quote!(#begun #zone #(#tags)* .running_by_default(#running).description(#description));
    finish(function, &quote!(::catchment::ScheduleContext), &quote!(::catchment::ScheduleDefinition), &begun)
}

pub(crate) fn success_hook(arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    hook(arguments, function, &quote!(::catchment::HookOn::Success))
}

pub(crate) fn failure_hook(arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    hook(arguments, function, &quote!(::catchment::HookOn::Failure))
}

fn hook(mut arguments: Arguments, function: &Function, on: &TokenStream) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    arguments.finish()?;
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned!(returned.span()=> ::catchment::HookDefinition::new::<#returned>(#name, #on));
    finish(function, &quote!(::catchment::HookContext), &quote!(::catchment::HookDefinition), &begun)
}

pub(crate) fn claim_handler(arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    arguments.finish()?;
    let returned = returned(&function.item.sig)?;
    let begun = quote_spanned!(returned.span()=> ::catchment::ClaimHandler::new::<#returned>());
    finish(function, &quote!(::catchment::ClaimContext), &quote!(::catchment::ClaimHandler), &begun)
}

pub(crate) fn resource(mut arguments: Arguments, function: &Function) -> syn::Result<TokenStream> {
    let name = arguments.text("name")?.unwrap_or_else(|| function.name());
    arguments.finish()?;
    let context = quote!(::catchment::ResourceContext);
    let returned = returned(&function.item.sig)?;
    let is_shared = inside_result(returned).is_some_and(|value| argument_of(value, "Arc").is_some());
    let share = (!is_shared).then(|| quote!(.map(::std::sync::Arc::new)));
    let (extract, call, needs) = (function.extract(&context), function.call(), needs(function, &context));
    let description = &function.description;
    let made = quote_spanned! {returned.span()=>
        ::catchment::ResourceDefinition::new(#name, |context: #context| async move {
            let _ = &context;
            #extract
            <#returned as ::catchment::Returned>::into_result(#call.await) #share
        }) #needs .description(#description)
    };
    Ok(function.expand(&quote!(::catchment::ResourceDefinition), &made, None))
}

fn needs(function: &Function, context: &TokenStream) -> TokenStream {
    let needs = function.arguments.iter().map(|(argument, ty)| {
        quote_spanned!(ty.span()=> .needs(<#ty as ::catchment::FromContext<#context>>::needs(#argument)))
    });
    quote!(#(#needs)*)
}

/// What was begun, with what the arguments need and the body.
fn finish(
    function: &Function,
    context: &TokenStream,
    definition: &TokenStream,
    begun: &TokenStream,
) -> syn::Result<TokenStream> {
    let returned = returned(&function.item.sig)?;
    let (extract, call, needs) = (function.extract(context), function.call(), needs(function, context));
    let result = quote_spanned!(returned.span()=> <#returned as ::catchment::Returned>::into_result(#call.await));
    let made = quote_spanned! {returned.span()=>
        #begun #needs .body(|context| async move {
            let _ = &context;
            #extract
            #result
        })
    };
    Ok(function.expand(definition, &made, None))
}
