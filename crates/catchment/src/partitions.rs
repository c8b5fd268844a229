//! Partitions definitions.

use catchment_core::partitions::{Cadence, PartitionsDefinition as Partitions, TimeWindowSpec};
use catchment_model::{Code, Problem};
use jiff::civil::DateTime;

/// The keys by which assets and jobs are divided, under a name. What is wrong with one is found by `check`.
///
/// ```
/// use catchment::PartitionsDefinition;
///
/// let days = PartitionsDefinition::daily("day", "2026-01-01").timezone("Europe/Zurich");
/// let cities = PartitionsDefinition::fixed("city", ["bern", "basel"]);
/// let both = PartitionsDefinition::multi("city_by_day", [("city", cities), ("day", days)]); // keys: `bern|2026-01-01`
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionsDefinition {
    name: String,
    of: Of,
}

#[derive(Debug, Clone, PartialEq)]
enum Of {
    /// Windows of time, which further methods may change.
    Windows(TimeWindowSpec),
    /// All else.
    Ready(Result<Partitions, Problem>),
}

impl PartitionsDefinition {
    /// A set of keys that grows at run time: sensors add to it.
    pub fn dynamic(name: &str) -> Self {
        Self::ready(name, Ok(Partitions::Dynamic { name: name.to_owned() }))
    }

    /// A fixed list of keys.
    pub fn fixed<const N: usize>(name: &str, keys: [&str; N]) -> Self {
        Self::ready(name, Partitions::with_keys(keys))
    }

    /// Hours from `start` (`2026-01-01` or `2026-01-01T06:00`), in UTC unless a [`timezone`](Self::timezone) is given.
    pub fn hourly(name: &str, start: &str) -> Self {
        Self::windows(name, Cadence::Hourly, start)
    }

    /// Days from `start`.
    pub fn daily(name: &str, start: &str) -> Self {
        Self::windows(name, Cadence::Daily, start)
    }

    /// Weeks from `start`, from Sunday unless [`changed`](Self::changed) says otherwise (`day_offset`).
    pub fn weekly(name: &str, start: &str) -> Self {
        Self::windows(name, Cadence::Weekly, start)
    }

    /// Months from `start`.
    pub fn monthly(name: &str, start: &str) -> Self {
        Self::windows(name, Cadence::Monthly, start)
    }

    /// Windows from tick to tick of a cron expression.
    pub fn cron(name: &str, expression: &str, start: &str) -> Self {
        Self::windows(name, Cadence::Cron { expression: expression.to_owned() }, start)
    }

    /// Two dimensions by name; a key is one key of each, as `a|b` in the order of the dimensions' names.
    pub fn multi<const N: usize>(name: &str, dimensions: [(&str, Self); N]) -> Self {
        let dimensions: Result<Vec<_>, Problem> =
            dimensions.into_iter().map(|(dimension, of)| Ok((dimension, of.definition()?))).collect();
        Self::ready(name, dimensions.and_then(Partitions::multi))
    }

    /// The time zone of windows of time: its IANA name.
    pub fn timezone(self, timezone: &str) -> Self {
        self.changed(|windows| timezone.clone_into(&mut windows.timezone))
    }

    /// How many windows there are beyond those that have ended (less than 0: so many less).
    pub fn end_offset(self, windows: i32) -> Self {
        self.changed(|spec| spec.end_offset = windows)
    }

    /// Changes windows of time in any other way; other partitions stay as they are.
    pub fn changed(mut self, change: impl FnOnce(&mut TimeWindowSpec)) -> Self {
        if let Of::Windows(spec) = &mut self.of {
            change(spec);
        }
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The definition.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn definition(&self) -> Result<Partitions, Problem> {
        let made = match &self.of {
            Of::Windows(spec) => Partitions::time_window(spec.clone()),
            Of::Ready(made) => made.clone(),
        };
        made.map_err(|problem| problem.place(format!("partitions {}", self.name)))
    }

    fn ready(name: &str, made: Result<Partitions, Problem>) -> Self {
        Self { name: name.to_owned(), of: Of::Ready(made) }
    }

    fn windows(name: &str, cadence: Cadence, start: &str) -> Self {
        let of = match start.parse::<DateTime>() {
            Ok(start) => Of::Windows(TimeWindowSpec::new(cadence, start)),
            Err(error) => Of::Ready(Err(Problem::new(Code::InvalidConfig, format!("`{start}` is no date"))
                .cause(error.to_string())
                .remedy("write it as 2026-01-31 or 2026-01-31T06:00"))),
        };
        Self { name: name.to_owned(), of }
    }
}
