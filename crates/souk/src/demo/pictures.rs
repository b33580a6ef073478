//! The demo's pictures: one simple drawing for each kind of thing, in any hue.

use image::DynamicImage;

use super::painter::{Canvas, Colour, Paint, SIZE, hsl};

/// What is in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motif {
    Laptop,
    Monitor,
    Keyboard,
    Phone,
    Tablet,
    Headphones,
    Gamepad,
    Speaker,
    Shirt,
    Hoodie,
    Dress,
    Shoe,
    Bag,
    Watch,
    Glasses,
    Tube,
    Lipstick,
    Jar,
    Gift,
    Balloons,
    Bowl,
    Paw,
    Plant,
    Lamp,
    Person,
}

/// The colours of one picture.
struct Palette {
    main: Paint,
    dark: Colour,
    deep: Colour,
    light: Colour,
    accent: Colour,
}

const WHITE: Colour = [255, 255, 255];
const INK: Colour = [43, 47, 58];

/// Draws a motif in a hue.
pub(super) fn draw(motif: Motif, hue: i32) -> anyhow::Result<DynamicImage> {
    let mut canvas = Canvas::new(hsl(hue, 55, 95), hsl(hue + 25, 55, 82));
    canvas.ellipse((980, 240), (300, 300), Paint::Veil(WHITE, 45));
    canvas.ellipse((160, 1010), (380, 380), Paint::Veil(hsl(hue - 25, 60, 75), 30));
    if motif != Motif::Person {
        canvas.ellipse((SIZE / 2, 965), (360, 42), Paint::Veil(hsl(hue, 35, 35), 28));
    }
    let palette = Palette {
        main: Paint::Fade(hsl(hue, 66, 60), hsl(hue - 8, 64, 48)),
        dark: hsl(hue - 8, 60, 38),
        deep: hsl(hue - 10, 50, 24),
        light: hsl(hue, 70, 82),
        accent: hsl(hue + 165, 75, 60),
    };
    paint(&mut canvas, motif, &palette);
    canvas.finish()
}

fn paint(canvas: &mut Canvas, motif: Motif, palette: &Palette) {
    match motif {
        Motif::Laptop | Motif::Monitor | Motif::Keyboard | Motif::Phone | Motif::Tablet => {
            screen(canvas, motif, palette);
        }
        Motif::Headphones | Motif::Gamepad | Motif::Speaker => sound(canvas, motif, palette),
        Motif::Shirt | Motif::Hoodie | Motif::Dress => garment(canvas, motif, palette),
        Motif::Shoe | Motif::Bag | Motif::Watch | Motif::Glasses => accessory(canvas, motif, palette),
        Motif::Tube | Motif::Lipstick | Motif::Jar => cosmetic(canvas, motif, palette),
        Motif::Gift | Motif::Balloons | Motif::Bowl | Motif::Paw => present(canvas, motif, palette),
        Motif::Plant | Motif::Lamp | Motif::Person => rest(canvas, motif, palette),
    }
}

/// What is on a screen: a few windows.
fn windows(canvas: &mut Canvas, (x0, y0): (i32, i32), (x1, y1): (i32, i32), p: &Palette) {
    let (w, h) = (x1 - x0, y1 - y0);
    canvas.block((x0, y0), (x1, y1), 14, p.main);
    canvas.ellipse((x0 + w * 3 / 4, y0 + h / 3), (w / 8, w / 8), Paint::Flat(p.light));
    canvas.block((x0 + w / 10, y0 + h / 5), (x0 + w / 2, y0 + h / 5 + h / 12), h / 24, Paint::Flat(WHITE));
    canvas.block(
        (x0 + w / 10, y0 + h * 2 / 5),
        (x0 + w * 2 / 5, y0 + h * 2 / 5 + h / 14),
        h / 28,
        Paint::Flat(p.light),
    );
    canvas.block((x0 + w / 10, y1 - h / 4), (x0 + w / 3, y1 - h / 9), 18, Paint::Flat(p.accent));
}

fn screen(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Laptop => {
            canvas.block((300, 340), (900, 780), 34, Paint::Flat(INK));
            windows(canvas, (328, 368), (872, 752), p);
            canvas.polygon(
                &[(300, 780), (900, 780), (1000, 920), (200, 920)],
                Paint::Fade([214, 218, 226], [172, 178, 190]),
            );
            canvas.block((200, 916), (1000, 950), 17, Paint::Flat([140, 146, 158]));
            canvas.polygon(&[(330, 800), (870, 800), (912, 862), (288, 862)], Paint::Flat(INK));
            canvas.polygon(&[(530, 876), (670, 876), (682, 910), (518, 910)], Paint::Flat([150, 156, 168]));
        }
        Motif::Monitor => {
            canvas.block((545, 760), (655, 920), 0, Paint::Fade([150, 156, 168], [196, 200, 210]));
            canvas.block((420, 910), (780, 955), 22, Paint::Flat([140, 146, 158]));
            canvas.block((220, 300), (980, 790), 34, Paint::Flat(INK));
            windows(canvas, (248, 328), (952, 762), p);
        }
        Motif::Keyboard => {
            canvas.block((190, 500), (1010, 900), 50, Paint::Flat(p.deep));
            canvas.block((190, 480), (1010, 870), 50, p.main);
            for row in 0..4 {
                for key in 0..10 {
                    let (x, y) = (234 + key * 74, 520 + row * 82);
                    let colour = if (key * 7 + row * 3) % 11 == 0 { p.accent } else { WHITE };
                    let wide = row == 3 && (3..=6).contains(&key);
                    canvas.block((x, y), (x + if wide { 74 } else { 62 }, y + 66), 14, Paint::Flat(colour));
                }
            }
        }
        Motif::Phone => {
            canvas.block((420, 240), (780, 960), 64, Paint::Flat(INK));
            windows(canvas, (446, 290), (754, 910), p);
            canvas.block((540, 256), (660, 276), 10, Paint::Flat([90, 96, 110]));
        }
        _ => {
            canvas.block((270, 270), (930, 950), 56, Paint::Flat(INK));
            windows(canvas, (312, 312), (888, 908), p);
            canvas.line((760, 1000), (1010, 560), 34, WHITE);
            canvas.line((1000, 578), (1012, 556), 34, p.accent);
        }
    }
}

fn sound(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Headphones => {
            canvas.arch((600, 640), 340, 270, Paint::Fade(p.dark, p.deep));
            for (x, inner) in [(290, 320), (910, 880)] {
                canvas.block((x - 75, 600), (x + 75, 900), 70, p.main);
                canvas.block((inner - 34, 630), (inner + 34, 870), 34, Paint::Flat(INK));
            }
            canvas.ellipse((290, 750), (34, 34), Paint::Flat(p.light));
            canvas.ellipse((910, 750), (34, 34), Paint::Flat(p.light));
        }
        Motif::Gamepad => {
            canvas.ellipse((360, 740), (190, 230), p.main);
            canvas.ellipse((840, 740), (190, 230), p.main);
            canvas.block((300, 470), (900, 790), 150, p.main);
            canvas.block((335, 600), (475, 646), 12, Paint::Flat(INK));
            canvas.block((382, 553), (428, 693), 12, Paint::Flat(INK));
            for ((x, y), colour) in
                [((790, 560), p.accent), ((860, 625), WHITE), ((720, 625), WHITE), ((790, 690), p.light)]
            {
                canvas.ellipse((x, y), (36, 36), Paint::Flat(colour));
            }
            canvas.ellipse((500, 760), (66, 66), Paint::Flat(p.deep));
            canvas.ellipse((700, 760), (66, 66), Paint::Flat(p.deep));
            canvas.ellipse((500, 752), (46, 46), Paint::Flat(p.dark));
            canvas.ellipse((700, 752), (46, 46), Paint::Flat(p.dark));
        }
        _ => {
            for x in [420, 780] {
                canvas.block((x - 150, 300), (x + 150, 950), 36, p.main);
                canvas.ellipse((x, 730), (118, 118), Paint::Flat(INK));
                canvas.ellipse((x, 730), (84, 84), Paint::Fade([96, 102, 116], [60, 65, 78]));
                canvas.ellipse((x, 730), (34, 34), Paint::Flat(p.accent));
                canvas.ellipse((x, 450), (74, 74), Paint::Flat(INK));
                canvas.ellipse((x, 450), (44, 44), Paint::Flat(p.light));
            }
        }
    }
}

fn garment(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    if motif == Motif::Dress {
        canvas.line((510, 270), (520, 400), 26, p.dark);
        canvas.line((690, 270), (680, 400), 26, p.dark);
        canvas.polygon(
            &[
                (470, 370),
                (540, 400),
                (600, 412),
                (660, 400),
                (730, 370),
                (700, 600),
                (860, 950),
                (340, 950),
                (500, 600),
            ],
            p.main,
        );
        canvas.polygon(&[(500, 590), (700, 590), (712, 640), (488, 640)], Paint::Flat(p.accent));
        canvas.line((560, 660), (500, 940), 8, p.dark);
        canvas.line((640, 660), (700, 940), 8, p.dark);
        return;
    }
    canvas.polygon(
        &[
            (440, 310),
            (520, 350),
            (680, 350),
            (760, 310),
            (1000, 470),
            (910, 640),
            (820, 590),
            (820, 950),
            (380, 950),
            (380, 590),
            (290, 640),
            (200, 470),
        ],
        p.main,
    );
    if motif == Motif::Hoodie {
        canvas.ellipse((600, 350), (170, 110), Paint::Flat(p.dark));
        canvas.ellipse((600, 340), (110, 74), Paint::Flat(p.deep));
        canvas.line((560, 440), (556, 600), 12, WHITE);
        canvas.line((640, 440), (644, 570), 12, WHITE);
        canvas.polygon(&[(490, 720), (710, 720), (770, 880), (430, 880)], Paint::Flat(p.dark));
    } else {
        canvas.ellipse((600, 326), (104, 76), Paint::Flat(p.dark));
        canvas.ellipse((600, 316), (86, 62), Paint::Veil(WHITE, 60));
        canvas.block((380, 600), (820, 660), 0, Paint::Flat(WHITE));
        canvas.block((380, 700), (820, 730), 0, Paint::Flat(p.light));
    }
}

fn accessory(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Shoe => {
            canvas.polygon(
                &[
                    (220, 540),
                    (300, 500),
                    (420, 560),
                    (560, 470),
                    (690, 620),
                    (860, 700),
                    (960, 770),
                    (990, 870),
                    (210, 870),
                ],
                p.main,
            );
            canvas.ellipse((900, 800), (90, 100), p.main);
            canvas.polygon(&[(210, 620), (330, 660), (380, 870), (210, 870)], Paint::Flat(p.dark));
            for n in 0..3 {
                let (x, y) = (500 + n * 62, 600 + n * 44);
                canvas.line((x, y), (x + 74, y - 72), 22, WHITE);
            }
            canvas.block((190, 850), (1010, 940), 44, Paint::Flat(WHITE));
            canvas.block((190, 912), (1010, 944), 16, Paint::Flat(p.accent));
        }
        Motif::Bag => {
            canvas.arch((600, 520), 220, 180, Paint::Flat(p.dark));
            canvas.block((240, 510), (960, 950), 70, p.main);
            canvas.block((240, 510), (960, 640), 60, Paint::Flat(p.dark));
            canvas.block((360, 510), (410, 950), 0, Paint::Flat(p.deep));
            canvas.block((790, 510), (840, 950), 0, Paint::Flat(p.deep));
            canvas.block((550, 600), (650, 690), 16, Paint::Flat(p.accent));
        }
        Motif::Watch => {
            canvas.block((500, 220), (700, 980), 46, Paint::Fade(p.dark, p.deep));
            canvas.ellipse((600, 600), (250, 250), Paint::Fade([226, 229, 236], [168, 174, 186]));
            canvas.block((842, 570), (884, 630), 12, Paint::Flat([150, 156, 168]));
            canvas.ellipse((600, 600), (208, 208), p.main);
            for (x, y) in [(600, 430), (770, 600), (600, 770), (430, 600)] {
                canvas.ellipse((x, y), (14, 14), Paint::Flat(WHITE));
            }
            canvas.line((600, 600), (600, 470), 22, WHITE);
            canvas.line((600, 600), (690, 660), 22, WHITE);
            canvas.ellipse((600, 600), (22, 22), Paint::Flat(p.accent));
        }
        _ => {
            canvas.line((215, 560), (330, 520), 26, p.deep);
            canvas.line((985, 560), (870, 520), 26, p.deep);
            canvas.arch((600, 640), 110, 78, Paint::Flat(p.deep));
            for x in [390, 810] {
                canvas.ellipse((x, 660), (200, 200), Paint::Flat(p.deep));
                canvas.ellipse((x, 660), (166, 166), p.main);
                canvas.line((x - 70, 690), (x + 20, 590), 30, p.light);
            }
        }
    }
}

fn cosmetic(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Tube => {
            canvas.polygon(&[(420, 240), (780, 240), (730, 830), (470, 830)], p.main);
            canvas.block((410, 230), (790, 290), 10, Paint::Flat(p.dark));
            canvas.block((480, 820), (720, 960), 26, Paint::Flat(WHITE));
            canvas.ellipse((600, 520), (96, 96), Paint::Flat(WHITE));
            canvas.ellipse((600, 490), (30, 50), Paint::Flat(p.accent));
            canvas.ellipse((566, 540), (42, 26), Paint::Flat(p.accent));
            canvas.ellipse((634, 540), (42, 26), Paint::Flat(p.accent));
        }
        Motif::Lipstick => {
            canvas.polygon(&[(520, 330), (680, 240), (680, 560), (520, 560)], p.main);
            canvas.ellipse((600, 320), (80, 66), p.main);
            canvas.block((500, 540), (700, 700), 12, Paint::Fade([245, 214, 140], [206, 166, 84]));
            canvas.block((460, 690), (740, 960), 24, Paint::Flat(INK));
            canvas.block((460, 760), (740, 784), 0, Paint::Flat([245, 214, 140]));
        }
        _ => {
            canvas.block((310, 520), (890, 950), 80, p.main);
            canvas.block((350, 640), (850, 830), 24, Paint::Flat(WHITE));
            canvas.block((430, 690), (770, 716), 13, Paint::Flat(p.dark));
            canvas.block((490, 748), (710, 770), 11, Paint::Flat(p.light));
            canvas.block((290, 380), (910, 540), 34, Paint::Fade([245, 240, 230], [214, 204, 186]));
        }
    }
}

fn present(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Gift => {
            canvas.block((280, 560), (920, 950), 20, p.main);
            canvas.block((240, 460), (960, 590), 20, Paint::Flat(p.dark));
            canvas.block((545, 460), (655, 950), 0, Paint::Flat(p.accent));
            canvas.ring((490, 370), 116, 60, Paint::Flat(p.accent));
            canvas.ring((710, 370), 116, 60, Paint::Flat(p.accent));
            canvas.ellipse((600, 430), (54, 50), Paint::Flat(p.accent));
        }
        Motif::Balloons => {
            for ((x, y), paint, string) in [
                ((400, 480), Paint::Flat(p.accent), 560),
                ((800, 460), Paint::Flat(p.light), 640),
                ((600, 370), p.main, 600),
            ] {
                canvas.line((x, y + 170), (string, 950), 8, p.deep);
                canvas.polygon(&[(x, y + 160), (x + 32, y + 212), (x - 32, y + 212)], paint);
                canvas.ellipse((x, y), (150, 180), paint);
                canvas.ellipse((x - 56, y - 70), (26, 44), Paint::Veil(WHITE, 70));
            }
        }
        Motif::Bowl => {
            for x in [430, 520, 610, 700, 780] {
                canvas.ellipse((x, 600), (70, 70), Paint::Fade([196, 142, 90], [150, 100, 58]));
            }
            canvas.polygon(&[(270, 620), (930, 620), (1000, 940), (200, 940)], p.main);
            canvas.block((250, 596), (950, 650), 27, Paint::Flat(p.dark));
            paw(canvas, (600, 810), 46, WHITE);
        }
        _ => {
            canvas.ellipse((600, 640), (360, 340), p.main);
            canvas.ellipse((600, 640), (300, 282), Paint::Flat(p.light));
            paw(canvas, (600, 690), 110, p.dark);
        }
    }
}

/// A paw's print about a middle.
fn paw(canvas: &mut Canvas, (x, y): (i32, i32), size: i32, colour: Colour) {
    let paint = Paint::Flat(colour);
    canvas.ellipse((x, y), (size, size * 4 / 5), paint);
    for (dx, dy) in [(-12, -7), (-5, -14), (5, -14), (12, -7)] {
        canvas.ellipse((x + dx * size / 10, y + dy * size / 10), (size * 2 / 5, size / 2), paint);
    }
}

fn rest(canvas: &mut Canvas, motif: Motif, p: &Palette) {
    match motif {
        Motif::Plant => {
            let leaf = Paint::Fade([126, 190, 110], [58, 130, 80]);
            canvas.line((600, 700), (600, 420), 18, [58, 130, 80]);
            for (x, y, rx, ry) in [
                (600, 360, 84, 150),
                (470, 500, 130, 74),
                (730, 480, 130, 74),
                (500, 620, 100, 54),
                (705, 610, 100, 54),
            ] {
                canvas.ellipse((x, y), (rx, ry), leaf);
            }
            canvas.polygon(&[(390, 700), (810, 700), (750, 960), (450, 960)], p.main);
            canvas.block((360, 660), (840, 740), 22, Paint::Flat(p.dark));
        }
        Motif::Lamp => {
            canvas
                .polygon(&[(400, 560), (800, 560), (960, 940), (240, 940)], Paint::Veil([255, 236, 150], 55));
            canvas.line((620, 920), (470, 640), 30, INK);
            canvas.line((470, 640), (640, 400), 30, INK);
            canvas.ellipse((470, 640), (34, 34), Paint::Flat(p.accent));
            canvas.ellipse((640, 560), (110, 60), Paint::Flat([255, 236, 150]));
            canvas.polygon(&[(570, 330), (710, 330), (830, 560), (450, 560)], p.main);
            canvas.block((440, 915), (800, 960), 22, Paint::Flat(INK));
        }
        _ => {
            canvas.ellipse((600, 1130), (400, 400), p.main);
            canvas.ellipse((600, 470), (210, 230), Paint::Fade([250, 216, 186], [236, 188, 152]));
            canvas.arch((600, 440), 226, 0, Paint::Flat(p.deep));
            canvas.block((374, 430), (826, 470), 20, Paint::Flat(p.accent));
        }
    }
}
