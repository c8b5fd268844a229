//! What stands in the brackets of an attribute: `name = value`, separated by commas; a `name` alone means `true`.

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprArray, ExprLit, Ident, Lit, LitBool, LitStr, Path, Token};

/// The arguments that have not been taken yet.
pub(crate) struct Arguments {
    given: Vec<Argument>,
    /// Every name that was asked for, for the message about one that was not.
    known: Vec<&'static str>,
}

struct Argument {
    name: Ident,
    value: Expr,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name: Ident = input.parse()?;
        if !input.peek(Token![=]) {
            let value = LitBool::new(true, name.span());
            return Ok(Self { value: Expr::Lit(ExprLit { attrs: Vec::new(), lit: value.into() }), name });
        }
        input.parse::<Token![=]>()?;
        Ok(Self { name, value: input.parse()? })
    }
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let given = Punctuated::<Argument, Token![,]>::parse_terminated(input)?;
        Ok(Self { given: given.into_iter().collect(), known: Vec::new() })
    }
}

impl Arguments {
    /// Any expression.
    pub(crate) fn take(&mut self, name: &'static str) -> Option<Expr> {
        self.known.push(name);
        let at = self.given.iter().position(|argument| argument.name == name)?;
        Some(self.given.remove(at).value)
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &'static str) -> syn::Result<Option<LitStr>> {
        self.take(name).map(|value| text(&value)).transpose()
    }

    /// A text without which there is nothing to do; `what` says what it is.
    pub(crate) fn required_text(&mut self, name: &'static str, what: &str) -> syn::Result<LitStr> {
        let found = self.text(name)?;
        found.ok_or_else(|| syn::Error::new(Span::call_site(), format!("`{name} = \"…\"` is missing: {what}")))
    }

    /// A list of texts, or one of them without brackets.
    pub(crate) fn texts(&mut self, name: &'static str) -> syn::Result<Vec<LitStr>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Expr::Array(ExprArray { elems, .. })) => elems.iter().map(text).collect(),
            Some(one @ Expr::Lit(ExprLit { lit: Lit::Str(_), .. })) => Ok(vec![text(&one)?]),
            Some(other) => Err(syn::Error::new(other.span(), "a list of texts is expected here: [\"a\", \"b\"]")),
        }
    }

    /// The path of a function or a word.
    pub(crate) fn path(&mut self, name: &'static str) -> syn::Result<Option<Path>> {
        match self.take(name) {
            None => Ok(None),
            Some(Expr::Path(path)) => Ok(Some(path.path)),
            Some(other) => Err(syn::Error::new(other.span(), "a name is expected here, without quotes")),
        }
    }

    /// A list of names, or one of them without brackets.
    pub(crate) fn paths(&mut self, name: &'static str) -> syn::Result<Vec<Path>> {
        let path = |value: &Expr| match value {
            Expr::Path(path) => Ok(path.path.clone()),
            other => Err(syn::Error::new(other.span(), "a name is expected here, without quotes")),
        };
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Expr::Array(ExprArray { elems, .. })) => elems.iter().map(path).collect(),
            Some(one) => Ok(vec![path(&one)?]),
        }
    }

    /// Pairs of a text and any expression: `[("a", 1)]`.
    pub(crate) fn pairs(&mut self, name: &'static str) -> syn::Result<Vec<(LitStr, Expr)>> {
        let wrong = |at: Span| syn::Error::new(at, "a list of pairs is expected here: [(\"name\", value)]");
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let Expr::Array(ExprArray { elems, .. }) = &value else { return Err(wrong(value.span())) };
        let pair = |value: &Expr| match value {
            Expr::Tuple(tuple) if tuple.elems.len() == 2 => Ok((text(&tuple.elems[0])?, tuple.elems[1].clone())),
            other => Err(wrong(other.span())),
        };
        elems.iter().map(pair).collect()
    }

    /// Whether a name stands there.
    pub(crate) fn flag(&mut self, name: &'static str) -> syn::Result<bool> {
        match self.take(name) {
            None => Ok(false),
            Some(Expr::Lit(ExprLit { lit: Lit::Bool(value), .. })) => Ok(value.value),
            Some(other) => Err(syn::Error::new(other.span(), "true or false is expected here")),
        }
    }

    /// `default = running` or `stopped`.
    pub(crate) fn running(&mut self, what: &str) -> syn::Result<bool> {
        match self.path("default")? {
            None => Ok(false),
            Some(path) if path.is_ident("stopped") => Ok(false),
            Some(path) if path.is_ident("running") => Ok(true),
            Some(other) => Err(syn::Error::new(other.span(), format!("a {what} is `running` or `stopped` by default"))),
        }
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> syn::Result<()> {
        let Some(argument) = self.given.first() else { return Ok(()) };
        let allowed = if self.known.is_empty() { "nothing".to_owned() } else { self.known.join(", ") };
        let what = format!("`{}` is not known here or is given twice; allowed: {allowed}", argument.name);
        Err(syn::Error::new(argument.name.span(), what))
    }
}

fn text(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        other => Err(syn::Error::new(other.span(), "a text in quotes is expected here")),
    }
}
