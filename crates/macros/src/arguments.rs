//! What stands in the brackets of an attribute: `name = value`, separated by commas.

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprArray, ExprLit, Lit, LitInt, LitStr, MetaNameValue, Path, Token};

/// The arguments that have not been taken yet.
pub(crate) struct Arguments(Vec<MetaNameValue>);

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let pairs = Punctuated::<MetaNameValue, Token![,]>::parse_terminated(input)?;
        Ok(Self(pairs.into_iter().collect()))
    }
}

impl Arguments {
    fn take(&mut self, name: &str) -> Option<Expr> {
        let at = self.0.iter().position(|pair| pair.path.is_ident(name))?;
        Some(self.0.remove(at).value)
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str) -> syn::Result<Option<LitStr>> {
        self.take(name).map(|value| text(&value)).transpose()
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> syn::Result<Vec<LitStr>> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Expr::Array(ExprArray { elems, .. })) => elems.iter().map(text).collect(),
            Some(other) => Err(syn::Error::new(other.span(), "a list of texts is expected here: [\"a\", \"b\"]")),
        }
    }

    /// The path of a function or a word.
    pub(crate) fn path(&mut self, name: &str) -> syn::Result<Option<Path>> {
        match self.take(name) {
            None => Ok(None),
            Some(Expr::Path(path)) => Ok(Some(path.path)),
            Some(other) => Err(syn::Error::new(other.span(), "a name is expected here, without quotes")),
        }
    }

    /// A whole number.
    pub(crate) fn integer(&mut self, name: &str) -> syn::Result<Option<LitInt>> {
        match self.take(name) {
            None => Ok(None),
            Some(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => Ok(Some(number)),
            Some(other) => Err(syn::Error::new(other.span(), "a whole number is expected here")),
        }
    }

    /// Refuses what is left.
    pub(crate) fn finish(self, allowed: &str) -> syn::Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(pair) => {
                let name = pair.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let what = format!("`{name}` is not known here or is given twice; allowed: {allowed}");
                Err(syn::Error::new(pair.path.span(), what))
            }
        }
    }
}

fn text(value: &Expr) -> syn::Result<LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        other => Err(syn::Error::new(other.span(), "a text in quotes is expected here")),
    }
}
