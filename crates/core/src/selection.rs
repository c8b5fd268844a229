//! Which assets a text names: Dagster's asset selection syntax. Pure.
//!
//! | text | names |
//! | --- | --- |
//! | `*` | all assets |
//! | `a`, `key:"a"`, `key:"raw/*"` | the asset `a`; all whose key fits, where `*` stands for any characters |
//! | `group:"g"`, `kind:"k"`, `owner:"team:x"`, `tag:"k"="v"`, `tag:"k"` | all of that group, kind, owner, tag |
//! | `+a`, `a+`, `+a+` | with everything upstream, downstream, or both |
//! | `2+a`, `a+1` | with so many levels of it |
//! | `roots(…)`, `sinks(…)` | those of them that need, or are needed by, no other of them |
//! | `a and b`, `a or b`, `a, b`, `not a`, `(…)` | as it reads; `not` binds closest, then `and` |

use std::collections::BTreeSet;

use catchment_model::{Code, Problem};

use crate::definitions::{AssetSpec, LocationSnapshot};

/// The longest text that is read, in bytes.
const LONGEST: usize = 10_000;
/// The deepest nesting.
const DEEPEST: u32 = 64;

/// The keys of the assets that `text` names, in the order of their definition.
///
/// # Errors
/// `invalid_input` where the text is not understood, with the place, or names an asset that is not there.
pub fn assets(text: &str, snapshot: &LocationSnapshot) -> Result<Vec<String>, Problem> {
    let wrong = |what: String| {
        Problem::new(Code::InvalidInput, what)
            .place(text.chars().take(200).collect::<String>())
            .remedy("write keys, or such as: group:\"g\", +key:\"a\", a+1, a and not b")
    };
    if text.len() > LONGEST {
        return Err(wrong(format!("the selection is longer than {LONGEST} bytes")));
    }
    let tokens = tokens(text).map_err(wrong)?;
    let mut reader = Reader { tokens: &tokens, at: 0, depth: 0, graph: Graph { assets: &snapshot.assets } };
    let found = reader.any().and_then(|found| reader.end().map(|()| found)).map_err(wrong)?;
    Ok(found.into_iter().filter_map(|place| Some(snapshot.assets.get(place)?.key.clone())).collect())
}

/// Assets, by their places in the list of definitions.
type Set = BTreeSet<usize>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// A key, a name, a number.
    Word(String),
    /// In quotes.
    Quoted(String),
    /// One of `+ : = , ( )`.
    Sign(char),
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            c if c.is_whitespace() => {}
            '+' | ':' | '=' | ',' | '(' | ')' => found.push(Token::Sign(first)),
            '"' => {
                let mut quoted = String::new();
                loop {
                    match rest.next() {
                        Some('"') => break,
                        Some('\\') => quoted.extend(rest.next()),
                        Some(c) => quoted.push(c),
                        None => return Err("a quotation mark has no end".into()),
                    }
                }
                found.push(Token::Quoted(quoted));
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = rest.next_if(|c| !c.is_whitespace() && !"+:=,()\"".contains(*c)) {
                    word.push(c);
                }
                found.push(Token::Word(word));
            }
        }
    }
    Ok(found)
}

struct Graph<'a> {
    assets: &'a [AssetSpec],
}

impl Graph<'_> {
    fn that(&self, fits: impl Fn(&AssetSpec) -> bool) -> Set {
        self.assets.iter().enumerate().filter(|(_, asset)| fits(asset)).map(|(place, _)| place).collect()
    }

    fn all(&self) -> Set {
        (0..self.assets.len()).collect()
    }

    /// The neighbours of a set on one side.
    fn beside(&self, of: &Set, upstream: bool) -> Set {
        let needs = |asset: &AssetSpec, of: &AssetSpec| asset.deps.contains(&of.key);
        let member = |place: &usize| self.assets.get(*place);
        if upstream {
            self.that(|asset| of.iter().filter_map(member).any(|one| needs(one, asset)))
        } else {
            self.that(|asset| of.iter().filter_map(member).any(|one| needs(asset, one)))
        }
    }

    /// A set with so many levels on one side; `None` takes all.
    fn with(&self, mut set: Set, upstream: bool, levels: Option<u32>) -> Set {
        let mut last = set.clone();
        let mut level = 0;
        while !last.is_empty() && levels.is_none_or(|levels| level < levels) {
            last = self.beside(&last, upstream).difference(&set).copied().collect();
            set.extend(&last);
            level += 1;
        }
        set
    }

    /// Those of a set that have no neighbour of it on one side.
    fn ends(&self, set: &Set, upstream: bool) -> Set {
        let has = |place: &&usize| self.beside(&Set::from([**place]), upstream).is_disjoint(set);
        set.iter().filter(has).copied().collect()
    }
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: u32,
    graph: Graph<'a>,
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is_sign(&self, sign: char) -> bool {
        self.peek() == Some(&Token::Sign(sign))
    }

    fn takes_sign(&mut self, sign: char) -> bool {
        let takes = self.is_sign(sign);
        self.at += usize::from(takes);
        takes
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let takes = matches!(self.peek(), Some(Token::Word(found)) if found.eq_ignore_ascii_case(word));
        self.at += usize::from(takes);
        takes
    }

    fn number(&mut self) -> Option<u32> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let number = word.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    fn end(&self) -> Read<()> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(format!("{} stands where the selection should end", shown(token))),
        }
    }

    /// `a or b`, `a, b`.
    fn any(&mut self) -> Read<Set> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(format!("the selection is nested deeper than {DEEPEST}"));
        }
        let mut set = self.each()?;
        while self.takes_sign(',') || self.takes_word("or") {
            set.extend(self.each()?);
        }
        self.depth -= 1;
        Ok(set)
    }

    /// `a and b`.
    fn each(&mut self) -> Read<Set> {
        let mut set = self.not()?;
        while self.takes_word("and") {
            let other = self.not()?;
            set.retain(|place| other.contains(place));
        }
        Ok(set)
    }

    fn not(&mut self) -> Read<Set> {
        let mut negated = false;
        while self.takes_word("not") {
            negated = !negated;
        }
        let set = self.reached()?;
        Ok(if negated { self.graph.all().difference(&set).copied().collect() } else { set })
    }

    /// `2+a+1`.
    fn reached(&mut self) -> Read<Set> {
        let before = self.at;
        let levels = self.number();
        let upstream = self.takes_sign('+');
        if !upstream {
            self.at = before;
        }
        let mut set = self.named()?;
        let downstream = self.takes_sign('+');
        let below = if downstream { self.number() } else { None };
        let named = set.clone();
        if upstream {
            set.extend(self.graph.with(named.clone(), true, levels));
        }
        if downstream {
            set.extend(self.graph.with(named, false, below));
        }
        Ok(set)
    }

    fn named(&mut self) -> Read<Set> {
        let Some(token) = self.peek().cloned() else {
            return Err("the selection ends where an asset should be".into());
        };
        self.at += 1;
        match token {
            Token::Sign('(') => self.bracketed(),
            Token::Word(word) if self.is_sign('(') && matches!(word.as_str(), "roots" | "sinks") => {
                self.at += 1;
                let set = self.bracketed()?;
                Ok(self.graph.ends(&set, word == "roots"))
            }
            Token::Word(word) if self.takes_sign(':') => self.attribute(&word),
            Token::Word(word) | Token::Quoted(word) => self.keyed(&word),
            Token::Sign(_) => Err(format!("{} stands where an asset should be", shown(&token))),
        }
    }

    fn bracketed(&mut self) -> Read<Set> {
        let set = self.any()?;
        if self.takes_sign(')') { Ok(set) } else { Err("a bracket has no end".into()) }
    }

    fn attribute(&mut self, name: &str) -> Read<Set> {
        let value = self.value()?;
        let wanted = if name == "tag" && self.takes_sign('=') { Some(self.value()?) } else { None };
        let graph = &self.graph;
        Ok(match name {
            "key" => return self.keyed(&value),
            "group" => graph.that(|asset| fits(&value, &asset.group)),
            "kind" => graph.that(|asset| asset.kinds.iter().any(|kind| fits(&value, kind))),
            "owner" => graph.that(|asset| asset.owners.iter().any(|owner| fits(&value, owner))),
            "tag" => graph.that(|asset| {
                let found = asset.tags.get(&value);
                found.is_some_and(|found| wanted.as_ref().is_none_or(|wanted| fits(wanted, found)))
            }),
            other => return Err(format!("`{other}` is no attribute of assets: use key, group, kind, owner or tag")),
        })
    }

    fn value(&mut self) -> Read<String> {
        match self.peek().cloned() {
            Some(Token::Word(value) | Token::Quoted(value)) => {
                self.at += 1;
                Ok(value)
            }
            _ => Err("a value is missing after `:` or `=`".into()),
        }
    }

    fn keyed(&self, key: &str) -> Read<Set> {
        let set = self.graph.that(|asset| fits(key, &asset.key));
        if set.is_empty() && !key.contains('*') {
            return Err(format!("there is no asset `{key}`"));
        }
        Ok(set)
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Word(text) => format!("`{text}`"),
        Token::Quoted(text) => format!("\"{text}\""),
        Token::Sign(sign) => format!("`{sign}`"),
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `raw/a → b → c → d`, `raw/a → x`.
    fn snapshot() -> LocationSnapshot {
        let asset = |key: &str, group: &str, deps: &[&str]| AssetSpec {
            key: key.into(),
            group: group.into(),
            kinds: vec![if group == "in" { "file".into() } else { "table".into() }],
            tags: [("tier".to_owned(), group.len().to_string())].into(),
            deps: deps.iter().map(|dep| (*dep).to_owned()).collect(),
            ..AssetSpec::default()
        };
        LocationSnapshot {
            assets: vec![
                asset("raw/a", "in", &[]),
                asset("b", "mid", &["raw/a"]),
                asset("c", "mid", &["b"]),
                asset("d", "out", &["c"]),
                asset("x", "out", &["raw/a"]),
            ],
            ..LocationSnapshot::default()
        }
    }

    fn named(text: &str) -> String {
        match assets(text, &snapshot()) {
            Ok(keys) => keys.join(" "),
            Err(problem) => problem.what,
        }
    }

    #[test]
    fn a_selection_names_what_it_says() {
        for (text, expected) in [
            ("*", "raw/a b c d x"),
            ("b", "b"),
            ("raw/a, d", "raw/a d"),
            ("key:\"raw/*\"", "raw/a"),
            ("group:\"mid\" or x", "b c x"),
            ("group:mid", "b c"),
            ("kind:\"file\"", "raw/a"),
            ("tag:\"tier\"=\"2\"", "raw/a"),
            ("tag:tier", "raw/a b c d x"),
            ("+c", "raw/a b c"),
            ("1+c", "b c"),
            ("b+", "b c d"),
            ("b+1", "b c"),
            ("1+c+1", "b c d"),
            ("+(b or x)", "raw/a b x"),
            ("* and not group:out", "raw/a b c"),
            ("not b and not c", "raw/a d x"),
            ("roots(*)", "raw/a"),
            ("sinks(*)", "d x"),
            ("roots(group:mid)", "b"),
            ("sinks(b or c)", "c"),
            ("(b or c) and (c or d)", "c"),
            ("nothing_like_it*", ""),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_place() {
        for (text, expected) in [
            ("", "the selection ends where an asset should be"),
            ("z", "there is no asset `z`"),
            ("b c", "`c` stands where the selection should end"),
            ("(b", "a bracket has no end"),
            ("\"b", "a quotation mark has no end"),
            ("colour:\"red\"", "`colour` is no attribute of assets: use key, group, kind, owner or tag"),
            ("b and", "the selection ends where an asset should be"),
            ("group:", "a value is missing after `:` or `=`"),
        ] {
            assert_eq!(named(text), expected, "{text}");
        }
        assert!(named(&"(".repeat(5000)).contains("nested deeper"));
        assert!(named(&"a".repeat(20_000)).contains("longer than"));
    }
}
