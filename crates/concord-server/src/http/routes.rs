//! Which route a path is of. There are few templates of routes; keys and names in a path are callers' data.

use std::str::Split;

/// Templates, such as `/api/v1/kv/{key}`, by the parts of their paths.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    root: Part,
    templates: Vec<String>,
}

#[derive(Debug, Default)]
struct Part {
    literals: Vec<(String, Self)>,
    /// Behind a part that callers choose.
    chosen: Option<Box<Self>>,
    /// The number of the template that ends here.
    template: Option<usize>,
}

impl Routes {
    pub(crate) fn new(templates: Vec<String>) -> Self {
        let mut root = Part::default();
        for (number, template) in templates.iter().enumerate() {
            root.add(template.split('/'), number);
        }
        Self { root, templates }
    }

    /// The number of the template that a path is of, in the order in which they were given.
    pub(crate) fn number_of(&self, path: &str) -> Option<usize> {
        self.root.find(path.split('/'))
    }

    /// The template that a path is of.
    pub(crate) fn template_of(&self, path: &str) -> Option<&str> {
        let number = self.number_of(path)?;
        self.templates.get(number).map(String::as_str)
    }
}

impl Part {
    fn add(&mut self, mut parts: Split<'_, char>, number: usize) {
        let Some(part) = parts.next() else {
            self.template = Some(number);
            return;
        };
        if part.starts_with('{') {
            self.chosen.get_or_insert_default().add(parts, number);
            return;
        }
        if !self.literals.iter().any(|(literal, _)| literal == part) {
            self.literals.push((part.to_owned(), Self::default()));
        }
        for (_, behind) in self.literals.iter_mut().filter(|(literal, _)| literal == part) {
            behind.add(parts.clone(), number);
        }
    }

    /// As the router does it: what is said literally goes before what callers choose, as far as that leads to a route.
    fn find(&self, mut parts: Split<'_, char>) -> Option<usize> {
        let Some(part) = parts.next() else {
            return self.template;
        };
        let literal = self.literals.iter().find(|(literal, _)| literal == part);
        let found = literal.and_then(|(_, behind)| behind.find(parts.clone()));
        found.or_else(|| {
            let behind = self.chosen.as_ref().filter(|_| !part.is_empty())?;
            behind.find(parts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_named_by_its_route_and_never_by_what_is_in_it() {
        let documented = super::super::router::documented().1.paths.paths;
        let routes = Routes::new(documented.into_keys().collect());
        for (path, route) in [
            ("/health", Some("/health")),
            ("/api/v1/kv", Some("/api/v1/kv")),
            ("/api/v1/kv/secret", Some("/api/v1/kv/{key}")),
            ("/api/v1/kv/secret/history", Some("/api/v1/kv/{key}/history")),
            ("/api/v1/kv/bulk", Some("/api/v1/kv/bulk")),
            ("/api/v1/kv/bulk/get", Some("/api/v1/kv/bulk/get")),
            ("/api/v1/kv/bulk/ttl", Some("/api/v1/kv/{key}/ttl")),
            ("/api/v1/kv/%2F", Some("/api/v1/kv/{key}")),
            ("/api/v1/kv/", None),
            ("/api/v1/kv//ttl", None),
            ("/api/v1/kv/secret/secret/secret", None),
            ("/secret", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(routes.template_of(path), route, "{path}");
        }
    }
}
