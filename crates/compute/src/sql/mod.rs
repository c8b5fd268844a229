//! From a recipe to one SQL statement: a pure function, with what differs between engines in a [`Dialect`].
//!
//! Each step is a common table expression over the one before it. Identifiers are always quoted, values always
//! literals of the dialect; text of a recipe (a condition, a query) is checked to be one expression or query.

use std::collections::BTreeMap;

use catchment_model::{Code, Problem};
use datafusion::sql::sqlparser::ast::Statement as Parsed;
use datafusion::sql::sqlparser::dialect::{Dialect as Grammar, GenericDialect, PostgreSqlDialect};
use datafusion::sql::sqlparser::parser::Parser;

use crate::recipe::{Number, Recipe, Step};

mod sedona;

pub use sedona::SedonaDialect;

/// The name of the geometry column from reader to file.
pub const GEOMETRY: &str = "geom";

/// What an engine writes differently from another.
pub trait Dialect {
    /// Its name.
    fn name(&self) -> &'static str;
    /// An identifier, quoted.
    fn identifier(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
    /// A text literal.
    fn text(&self, value: &str) -> String {
        format!("'{}'", value.replace('\'', "''"))
    }
    /// A literal of double precision.
    fn number(&self, value: f64) -> String;
    /// `geometry` transformed to the CRS `to`; `row` is an expression that numbers the source's rows.
    fn transform(&self, geometry: &str, row: &str, to: &str) -> String;
    /// `geometry` repaired where it is invalid.
    fn make_valid(&self, geometry: &str, row: &str) -> String;
    /// `geometry` simplified, topology preserved.
    fn simplify(&self, geometry: &str, tolerance: f64) -> String;
    /// `geometry` without heights and measures.
    fn force_2d(&self, geometry: &str) -> String;
    /// Whether `geometry` is empty.
    fn is_empty(&self, geometry: &str) -> String;
    /// The key to sort `geometry` by.
    fn sort_key(&self, geometry: &str) -> String;
}

/// The relation that a statement reads.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name.
    pub table: String,
    /// Its columns for the user, the geometry among them.
    pub columns: Vec<String>,
    /// The hidden column that numbers its rows from 1.
    pub row: String,
}

/// A statement and what it returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    /// The text.
    pub sql: String,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// The values of the recipe's parameters that are in it.
    pub parameters: BTreeMap<String, f64>,
}

/// Renders `recipe` over `input` with the parameters' `values`. Rows come sorted by the dialect's key, rows
/// without a geometry last, and where no step of free SQL has lost the rows' numbers, equal keys by number, so
/// that the order is the same each time.
pub fn render(
    recipe: &Recipe,
    dialect: &dyn Dialect,
    input: &Input,
    values: &[(String, f64)],
) -> Result<Statement, Problem> {
    let mut renderer = Renderer {
        dialect,
        values,
        columns: input.columns.clone(),
        row: Some(input.row.clone()),
        from: dialect.identifier(&input.table),
        tables: Vec::new(),
    };
    for (index, step) in recipe.steps.iter().enumerate() {
        renderer.step(step).map_err(|what| {
            Problem::new(Code::RecipeInvalid, what).place(format!("recipe {}, $.steps[{index}]", recipe.intent))
        })?;
    }
    Ok(Statement { sql: renderer.finish(), columns: renderer.columns, parameters: values.iter().cloned().collect() })
}

/// Checks that a recipe renders to one query that the grammars of all engines accept, over made-up columns.
pub(crate) fn check(recipe: &Recipe) -> Result<(), String> {
    let mut columns: Vec<String> = vec!["a".to_owned()];
    for step in &recipe.steps {
        match step {
            Step::Rename { columns: pairs } => columns.extend(pairs.iter().map(|(old, _)| old.clone())),
            Step::Select { columns: names } => columns.extend(names.iter().cloned()),
            _ => {}
        }
    }
    columns.push(GEOMETRY.to_owned());
    let mut seen = std::collections::BTreeSet::new();
    columns.retain(|name| seen.insert(name.clone()));
    let input = Input { table: "input".to_owned(), columns, row: "__row".to_owned() };
    let values: Vec<_> = recipe.parameters.iter().map(|p| (p.name.clone(), p.default)).collect();
    let renames = recipe.steps.iter().any(|step| matches!(step, Step::Rename { .. } | Step::Select { .. }));
    let statement = match render(recipe, &SedonaDialect, &input, &values) {
        Ok(statement) => statement,
        // Which columns there are is known only with the data: such a recipe is checked again when it is used.
        Err(_) if renames => return Ok(()),
        Err(problem) => return Err(problem.what),
    };
    let grammars: [(&str, &dyn Grammar); 2] = [("SedonaDB", &GenericDialect {}), ("PostGIS", &PostgreSqlDialect {})];
    for (engine, grammar) in grammars {
        let parsed = Parser::parse_sql(grammar, &statement.sql).map_err(|error| format!("{engine}: {error}"))?;
        if !matches!(parsed.as_slice(), [Parsed::Query(_)]) {
            return Err(format!("{engine}: the steps make more than one query"));
        }
    }
    Ok(())
}

struct Renderer<'a> {
    dialect: &'a dyn Dialect,
    values: &'a [(String, f64)],
    columns: Vec<String>,
    row: Option<String>,
    from: String,
    tables: Vec<String>,
}

impl Renderer<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let geometry = self.dialect.identifier(GEOMETRY);
        let row = self.row.as_deref().map_or("NULL".to_owned(), |row| self.dialect.identifier(row));
        match step {
            Step::NormalizeCrs { to } => self.geometry(&self.dialect.transform(&geometry, &row, to)),
            Step::MakeValid => self.geometry(&self.dialect.make_valid(&geometry, &row)),
            Step::Simplify { tolerance } => {
                let tolerance = self.value(tolerance)?;
                self.geometry(&self.dialect.simplify(&geometry, tolerance));
            }
            Step::Force2d => self.geometry(&self.dialect.force_2d(&geometry)),
            Step::DropEmpty => {
                let empty = self.dialect.is_empty(&geometry);
                self.keep(&format!("{geometry} IS NOT NULL AND NOT {empty}"));
            }
            Step::Filter { condition } => self.keep(&format!("(\n    {}\n  )", self.substitute(condition))),
            Step::Rename { columns } => self.rename(columns)?,
            Step::Select { columns } => self.select(columns)?,
            Step::Sql { query, columns } => self.sql(query, columns.as_deref()),
        }
        Ok(())
    }

    /// Replaces the geometry by an expression.
    fn geometry(&mut self, expression: &str) {
        let items = self.items(|dialect, name| match name {
            GEOMETRY => format!("{expression} AS {}", dialect.identifier(GEOMETRY)),
            other => dialect.identifier(other),
        });
        self.table(format!("SELECT {items} FROM {}", self.from));
    }

    fn keep(&mut self, condition: &str) {
        let items = self.items(|dialect, name| dialect.identifier(name));
        self.table(format!("SELECT {items} FROM {} WHERE {condition}", self.from));
    }

    fn rename(&mut self, pairs: &[(String, String)]) -> Result<(), String> {
        for (old, new) in pairs {
            if !self.columns.contains(old) {
                return Err(format!("there is no column {old} to rename; there are {}", self.columns.join(", ")));
            }
            if old == GEOMETRY || new == GEOMETRY {
                return Err(format!("the geometry stays {GEOMETRY}"));
            }
        }
        let renamed = |name: &str| pairs.iter().find(|(old, _)| old == name).map_or(name, |(_, new)| new).to_owned();
        let items = self.items(|dialect, name| {
            let new = renamed(name);
            if new == name {
                dialect.identifier(name)
            } else {
                format!("{} AS {}", dialect.identifier(name), dialect.identifier(&new))
            }
        });
        let columns: Vec<String> = self.columns.iter().map(|name| renamed(name)).collect();
        unique(&columns)?;
        self.table(format!("SELECT {items} FROM {}", self.from));
        self.columns = columns;
        Ok(())
    }

    fn select(&mut self, names: &[String]) -> Result<(), String> {
        if let Some(missing) = names.iter().find(|name| !self.columns.contains(name)) {
            return Err(format!("there is no column {missing}; there are {}", self.columns.join(", ")));
        }
        let mut columns = names.to_vec();
        if !columns.iter().any(|name| name == GEOMETRY) {
            columns.push(GEOMETRY.to_owned());
        }
        unique(&columns)?;
        self.columns = columns;
        let items = self.items(|dialect, name| dialect.identifier(name));
        self.table(format!("SELECT {items} FROM {}", self.from));
        Ok(())
    }

    /// A query of the recipe's own. It sees no hidden column, so the rows' numbers end here.
    fn sql(&mut self, query: &str, columns: Option<&[String]>) {
        if self.row.take().is_some() {
            let items = self.items(|dialect, name| dialect.identifier(name));
            self.table(format!("SELECT {items} FROM {}", self.from));
        }
        let query = self.substitute(query).replace("{input}", &self.from);
        self.table(query.trim().trim_end_matches(';').to_owned());
        if let Some(columns) = columns {
            self.columns = columns.to_vec();
        }
    }

    /// The columns, and the hidden one after them, as a select list.
    fn items(&self, item: impl Fn(&dyn Dialect, &str) -> String) -> String {
        let columns = self.columns.iter().map(|name| item(self.dialect, name));
        let row = self.row.iter().map(|name| self.dialect.identifier(name));
        columns.chain(row).collect::<Vec<_>>().join(", ")
    }

    fn table(&mut self, query: String) {
        let name = self.dialect.identifier(&format!("step_{}", self.tables.len() + 1));
        self.tables.push(format!("{name} AS (\n  {query}\n)"));
        self.from = name;
    }

    fn finish(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|name| self.dialect.identifier(name)).collect();
        let key = self.dialect.identifier("__sort_key");
        let row = self.row.as_deref().map(|row| self.dialect.identifier(row));
        let hidden = row.iter().map(|row| format!(", {row}")).collect::<String>();
        let with = if self.tables.is_empty() { String::new() } else { format!("WITH {}\n", self.tables.join(",\n")) };
        format!(
            "{with}SELECT {columns} FROM (\n  SELECT {columns}{hidden}, {sort_key} AS {key} FROM {from}\n) AS {keyed}\n\
             ORDER BY {key} ASC NULLS LAST{ties}",
            columns = names.join(", "),
            sort_key = self.dialect.sort_key(&self.dialect.identifier(GEOMETRY)),
            from = self.from,
            keyed = self.dialect.identifier("keyed"),
            ties = row.iter().map(|row| format!(", {row} ASC")).collect::<String>(),
        )
    }

    fn value(&self, number: &Number) -> Result<f64, String> {
        match number {
            Number::Value(value) => Ok(*value),
            Number::Parameter(name) => self
                .values
                .iter()
                .find_map(|(known, value)| (known == name).then_some(*value))
                .ok_or_else(|| format!("the parameter {name} has no value")),
        }
    }

    fn substitute(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{name}}}"), &self.dialect.number(*value))
        })
    }
}

fn unique(columns: &[String]) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    match columns.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(format!("two columns would be called {twice}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
