//! Charts as SVG, in the page's own colours.
//!
//! plotters writes colours as numbers. Each colour used here is a number that stands for a name of
//! the style sheet, and is replaced by it, so that light and dark are the browser's to choose.

use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;

use super::super::figures;
use crate::report::bench::Unit;
use crate::report::words;

/// Size of a chart that has a line for itself, in its own units; the page scales it.
const WIDE: (u32, u32) = (640, 380);

/// Size of a chart beside others.
const NARROW: (u32, u32) = (350, 290);

const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(2, 2, 2);
const AXIS: RGBColor = RGBColor(3, 3, 3);
const PAPER: RGBColor = RGBColor(4, 4, 4);

/// A colour of the style sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Of a contender, by its place.
    Contender(u8),
    /// Of a layer of a stack.
    Layer(u8),
}

/// How many colours there are of each.
const CONTENDERS: u8 = 6;
const LAYERS: u8 = 13;

impl Paint {
    /// The colour of a contender; those that are too many share the last.
    pub fn contender(place: usize) -> Self {
        Self::Contender(u8::try_from(place).unwrap_or(u8::MAX).min(CONTENDERS - 1))
    }

    const fn stand_in(self) -> RGBColor {
        match self {
            Self::Contender(place) => RGBColor(0x10, place, 0),
            Self::Layer(place) => RGBColor(0x20, place, 0),
        }
    }

    /// Its name in the style sheet.
    pub fn name(self) -> String {
        match self {
            Self::Contender(place) => format!("var(--c{place})"),
            Self::Layer(place) => format!("var(--s{place})"),
        }
    }
}

/// A point: x, y, and the range of y.
pub type Mark = (f64, f64, Option<(f64, f64)>);

/// A line through points, each with the least and the greatest of its values.
pub struct Line {
    /// Its colour.
    pub paint: Paint,
    /// Whether it is broken, for a second line of the same colour.
    pub dashed: bool,
    /// x, y, and the range of y.
    pub points: Vec<Mark>,
    /// Whether points are marked.
    pub marked: bool,
}

/// A layer of a stack: x, its lower and its upper end.
pub struct Layer {
    /// Its colour.
    pub paint: Paint,
    /// x, lower end, upper end.
    pub band: Vec<(f64, f64, f64)>,
}

/// What an axis counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Numbers of rules.
    Rules,
    /// A metric.
    Metric(Unit),
    /// A part of the whole.
    Share,
}

impl Scale {
    fn tick(self, value: f64) -> String {
        match self {
            Self::Rules | Self::Metric(Unit::Count) => rules(value),
            Self::Metric(Unit::Bytes) => words::bytes(figures::whole(value)).replace(".0 ", " "),
            Self::Metric(Unit::Ns) => {
                let text = words::duration(figures::whole(value));
                text.replace(".00 ", " ").replace(".0 ", " ")
            }
            Self::Share if value >= 0.999 => "all".to_owned(),
            Self::Share if value >= 0.009 => format!("{:.0} %", value * 100.0),
            Self::Share => format!("1 in {}", rules(1.0 / value)),
        }
    }
}

/// A number of rules, short.
fn rules(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", (value / 1e3 * 100.0).round() / 100.0),
        _ => format!("{}", value.round()),
    }
}

/// Everything that a chart shows.
pub struct Chart {
    /// What x is.
    pub x: (&'static str, Scale),
    /// What y is.
    pub y: (&'static str, Scale),
    /// The range of x.
    pub x_range: (f64, f64),
    /// The range of y.
    pub y_range: (f64, f64),
    /// Bands, the first below the others.
    pub layers: Vec<Layer>,
    /// Lines, above the bands.
    pub lines: Vec<Line>,
    /// Whether it has a line of the page for itself, where that is wide enough.
    pub wide: bool,
}

/// A range that holds all of these, from a little below to a little above. `None` of nothing that
/// a log axis can show.
pub fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for value in values.filter(|value| value.is_finite() && *value > 0.0) {
        low = low.min(value);
        high = high.max(value);
    }
    (high > 0.0).then_some((low / 1.25, high * 1.25))
}

impl Chart {
    /// The chart as SVG, for a place beside others and for a line of its own if it has one.
    pub fn svgs(&self) -> Vec<(&'static str, String)> {
        if self.wide {
            vec![
                ("wide-page", self.svg(WIDE)),
                ("narrow-page", self.svg(NARROW)),
            ]
        } else {
            vec![("", self.svg(NARROW))]
        }
    }

    /// The chart as SVG of this size; empty if it cannot be drawn.
    fn svg(&self, size: (u32, u32)) -> String {
        let mut text = String::new();
        let drawn = {
            let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
            self.draw(&area)
                .and_then(|()| area.present().map_err(|error| error.to_string()))
        };
        if drawn.is_err() {
            return String::new();
        }
        named(&text)
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    ) -> Result<(), String> {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let mut chart = ChartBuilder::on(area)
            .margin_right(14)
            .margin_top(8)
            .x_label_area_size(46)
            .y_label_area_size(74)
            .build_cartesian_2d(
                Decades::new(self.x_range, self.x.1),
                Decades::new(self.y_range, self.y.1),
            )
            .map_err(|error| told(&error))?;
        let font = ("sans-serif", 13).into_font().color(&INK);
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(AXIS)
            .label_style(font.clone())
            .axis_desc_style(font)
            .x_desc(self.x.0)
            .y_desc(self.y.0)
            .draw()
            .map_err(|error| told(&error))?;
        self.draw_grid(&mut chart)?;
        for layer in &self.layers {
            let upper = layer
                .band
                .iter()
                .map(|(x, _, high)| (*x, self.within(*high)));
            let lower = layer
                .band
                .iter()
                .rev()
                .map(|(x, low, _)| (*x, self.within(*low)));
            let outline: Vec<_> = upper.chain(lower).collect();
            let style = layer.paint.stand_in().filled();
            chart
                .draw_series([Polygon::new(outline, style)])
                .map_err(|error| told(&error))?;
        }
        for line in &self.lines {
            self.draw_line(&mut chart, line)?;
        }
        Ok(())
    }

    fn draw_grid<'a>(
        &self,
        chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<Decades, Decades>>,
    ) -> Result<(), String> {
        let across = Decades::new(self.y_range, self.y.1).ticks();
        let up = Decades::new(self.x_range, self.x.1).ticks();
        let lines = across
            .into_iter()
            .map(|y| vec![(self.x_range.0, y), (self.x_range.1, y)])
            .chain(
                up.into_iter()
                    .map(|x| vec![(x, self.y_range.0), (x, self.y_range.1)]),
            );
        for line in lines {
            chart
                .draw_series([PathElement::new(line, GRID)])
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn draw_line<'a>(
        &self,
        chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<Decades, Decades>>,
        line: &Line,
    ) -> Result<(), String> {
        let color = line.paint.stand_in();
        let points: Vec<_> = line
            .points
            .iter()
            .map(|(x, y, _)| (*x, self.within(*y)))
            .collect();
        let told = |error: &dyn std::fmt::Display| error.to_string();
        if line.dashed {
            let series = DashedLineSeries::new(points.clone(), 5, 4, color.stroke_width(2));
            chart.draw_series(series).map_err(|error| told(&error))?;
        } else {
            let series = LineSeries::new(points.clone(), color.stroke_width(2));
            chart.draw_series(series).map_err(|error| told(&error))?;
        }
        for (x, _, range) in &line.points {
            let Some((low, high)) = range else { continue };
            let whisker = vec![(*x, self.within(*low)), (*x, self.within(*high))];
            chart
                .draw_series([PathElement::new(whisker, color.stroke_width(1))])
                .map_err(|error| told(&error))?;
        }
        if line.marked {
            let marks = points.into_iter().map(|point| {
                EmptyElement::at(point)
                    + Circle::new((0, 0), 4, PAPER.filled())
                    + Circle::new((0, 0), 4, color.stroke_width(2))
            });
            chart.draw_series(marks).map_err(|error| told(&error))?;
        }
        Ok(())
    }

    /// A value as the axis can show it.
    fn within(&self, value: f64) -> f64 {
        value.clamp(self.y_range.0, self.y_range.1)
    }
}

/// A log axis with a line for each power of ten, and for 2 and 5 times these where there are few.
struct Decades {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Decades {
    const fn new((low, high): (f64, f64), scale: Scale) -> Self {
        Self { low, high, scale }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Metric(Unit::Bytes) {
            return self.binary_ticks();
        }
        let (first, last) = (self.low.log10().floor(), self.high.log10().ceil());
        let decades = (last - first).clamp(0.0, 40.0);
        let steps: &[f64] = if self.high / self.low < 30.0 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        // Where there are many decades, every second is enough.
        let every = if decades > 8.0 { 2 } else { 1 };
        let powers = (0_u8..=40).take_while(|power| f64::from(*power) <= decades);
        powers
            .filter(|power| (first + f64::from(*power)).rem_euclid(f64::from(every)) < 0.5)
            .flat_map(|power| {
                let ten = 10_f64.powf(first + f64::from(power));
                steps.iter().map(move |step| step * ten)
            })
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

impl Decades {
    /// Powers of two, or of four or more where these would be many.
    fn binary_ticks(&self) -> Vec<f64> {
        let step = match self.high / self.low {
            ..40.0 => 1,
            ..1e4 => 2,
            _ => 5,
        };
        let powers = (0..50).step_by(step).map(|power| 2_f64.powi(power));
        powers
            .filter(|tick| (self.low..=self.high).contains(tick))
            .collect()
    }
}

impl Ranged for Decades {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    #[expect(
        clippy::cast_possible_truncation,
        reason = "casts from floats saturate"
    )]
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let part = (value / self.low).ln() / (self.high / self.low).ln();
        let length = f64::from(limit.1 - limit.0);
        limit.0 + (part * length).round() as i32
    }

    fn key_points<Hint: plotters::coord::ranged1d::KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Decades {
    fn format_ext(&self, value: &f64) -> String {
        self.scale.tick(*value)
    }
}

/// The style sheet's names in place of the numbers that stand for them.
fn named(svg: &str) -> String {
    let mut svg = svg.to_owned();
    let plain = [
        (INK, "--ink"),
        (GRID, "--grid"),
        (AXIS, "--axis"),
        (PAPER, "--panel"),
    ];
    for (color, name) in plain {
        svg = svg.replace(&hex(color), &format!("var({name})"));
    }
    let contenders = (0..CONTENDERS).map(Paint::Contender);
    for paint in contenders.chain((0..LAYERS).map(Paint::Layer)) {
        svg = svg.replace(&hex(paint.stand_in()), &paint.name());
    }
    svg
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}

#[cfg(test)]
mod tests {
    use super::{Chart, Decades, Line, Paint, Scale, range};
    use crate::report::bench::Unit;

    #[test]
    fn axes_have_ticks_that_can_be_read() {
        let ticks = |range, scale| {
            let axis = Decades::new(range, scale);
            axis.ticks()
                .iter()
                .map(|tick| scale.tick(*tick))
                .collect::<Vec<_>>()
        };
        let time = Scale::Metric(Unit::Ns);
        assert_eq!(ticks((9e5, 2e8), time), ["1 ms", "10 ms", "100 ms"]);
        assert_eq!(ticks((9e5, 6e6), time), ["1 ms", "2 ms", "5 ms"]);
        let memory = Scale::Metric(Unit::Bytes);
        assert_eq!(ticks((5e6, 2e7), memory), ["8 MiB", "16 MiB"]);
        assert_eq!(
            ticks((80.0, 125_000.0), Scale::Rules),
            ["100", "1k", "10k", "100k"]
        );
        let shares = ticks((1e-4, 1.0), Scale::Share);
        assert_eq!(shares, ["1 in 10k", "1 in 1k", "1 %", "10 %", "all"]);
    }

    #[test]
    fn a_chart_of_one_point_or_none_can_be_drawn() {
        assert_eq!(range([0.0, f64::NAN].into_iter()), None);
        let (low, high) = range([5.0].into_iter()).unwrap();
        assert!(low < 5.0 && high > 5.0);
        for points in [vec![], vec![(5.0, 5.0, Some((4.5, 5.5)))]] {
            let chart = Chart {
                x: ("rules", Scale::Rules),
                y: ("time", Scale::Metric(Unit::Ns)),
                x_range: (low, high),
                y_range: (low, high),
                layers: Vec::new(),
                lines: vec![Line {
                    paint: Paint::contender(99),
                    dashed: false,
                    points,
                    marked: true,
                }],
                wide: true,
            };
            assert!(chart.svgs().iter().all(|(_, svg)| svg.starts_with("<svg")));
        }
    }
}
