//! The recipes that an installation knows: the built-in ones and those of a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use catchment_model::{Code, Fault, Problem};

use super::{AppliesTo, Recipe, parse};

const BUILT_IN: [(&str, &str); 2] = [
    ("ingest_vector.yaml", include_str!("../../recipes/ingest_vector.yaml")),
    ("generalize_vector.yaml", include_str!("../../recipes/generalize_vector.yaml")),
];

/// Recipes by intent.
#[derive(Debug, Clone)]
pub struct Recipes {
    by_intent: BTreeMap<String, Arc<Recipe>>,
}

impl Recipes {
    /// The built-in recipes.
    pub fn built_in() -> Result<Self, Problem> {
        let mut recipes = Self { by_intent: BTreeMap::new() };
        for (name, text) in BUILT_IN {
            let recipe = parse(text).map_err(|faults| invalid(name, faults))?;
            recipes.by_intent.insert(recipe.intent.clone(), Arc::new(recipe));
        }
        Ok(recipes)
    }

    /// The built-in recipes and every `*.yaml` and `*.yml` of `folder`, in the order of their names. A recipe for
    /// an intent that is built in takes its place; two files for one intent are an error.
    pub fn with_folder(folder: &Path) -> Result<Self, Problem> {
        let mut recipes = Self::built_in()?;
        let unreadable = |error: std::io::Error| {
            Problem::new(Code::InvalidConfig, "the folder of recipes cannot be read")
                .place(folder.display().to_string())
                .cause(error.to_string())
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
                files.push(path);
            }
        }
        files.sort();
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(unreadable)?;
            let recipe = parse(&text).map_err(|faults| invalid(&name, faults))?;
            if let Some(other) = origins.insert(recipe.intent.clone(), name.clone()) {
                return Err(Problem::new(
                    Code::RecipeInvalid,
                    format!("two recipes are for the intent {}", recipe.intent),
                )
                .place(format!("{other} and {name}"))
                .remedy("give one of them an intent of its own, or remove it"));
            }
            recipes.by_intent.insert(recipe.intent.clone(), Arc::new(recipe));
        }
        Ok(recipes)
    }

    /// The recipe of an intent; of an unknown intent, or of one that is for another kind of file, the default
    /// recipe of this kind.
    pub fn for_intent(&self, intent: &str, kind: AppliesTo) -> Result<Arc<Recipe>, Problem> {
        let default = match kind {
            AppliesTo::Vector => "ingest_vector",
            AppliesTo::Raster => "ingest_raster",
            AppliesTo::Tabular => "ingest_tabular",
        };
        [intent, default]
            .into_iter()
            .filter_map(|intent| self.by_intent.get(intent))
            .find(|recipe| recipe.applies_to == kind)
            .cloned()
            .ok_or_else(|| {
                Problem::new(Code::Unsupported, "there is no recipe for this kind of file")
                    .cause(format!("neither {intent} nor {default} is known"))
            })
    }

    /// All of them, by intent.
    pub fn iter(&self) -> impl Iterator<Item = &Recipe> {
        self.by_intent.values().map(AsRef::as_ref)
    }
}

fn invalid(name: &str, faults: Vec<Fault>) -> Problem {
    Problem::new(Code::RecipeInvalid, "a recipe is wrong").place(name).faults(faults)
}
