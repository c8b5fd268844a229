//! The attributes of the SDK, re-exported and explained by the crate `catchment`.
//!
//! Here: `#[asset]`, `#[sensor]` and `#[claim_handler]`. Each turns `async fn name(…)` into two things of the
//! same name, which Rust keeps apart because one is a type and the other a function:
//!
//! - `name()` answers the definition, to be listed in `definitions.rs`;
//! - `name::call(…)` is the function as it was written, to be called with fakes in a test.
//!
//! What is generated is a chain of builder calls and one closure that takes the arguments out of the context,
//! each through its `FromContext`; all else is plain code in the SDK.
//!
//! Not here: anything that happens at run time.

mod arguments;
mod expand;
mod function;

use proc_macro::TokenStream;
use syn::parse_macro_input;

/// Makes an asset of an `async fn` that returns `Result<T, E>` with `E: Into<Problem>`.
///
/// Arguments: `key = "a"` (default: the function's name), `group = "g"`, `kinds = ["k"]`, `deps = ["a"]` (edges
/// without a value), `partitions = path::of::function`. The doc comment is the description.
#[proc_macro_attribute]
pub fn asset(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let function = parse_macro_input!(item as function::Function);
    expand::asset(arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a sensor of an `async fn` that returns `Result<SensorResult, E>` with `E: Into<Problem>`.
///
/// Arguments: `name = "s"` (default: the function's name), `jobs = ["j"]`, `minimum_interval_s = 30`,
/// `default = running` or `stopped`. The doc comment is the description.
#[proc_macro_attribute]
pub fn sensor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let function = parse_macro_input!(item as function::Function);
    expand::sensor(arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes of an `async fn` that returns `Result<(), E>` what finishes a sensor's claims. It is called at least
/// once for each claim, so it must be idempotent.
#[proc_macro_attribute]
pub fn claim_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as arguments::Arguments);
    let function = parse_macro_input!(item as function::Function);
    expand::claim_handler(arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}
