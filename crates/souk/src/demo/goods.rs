//! What is for sale in the demo.

use super::pictures::Motif;

/// A shop of the demo.
pub(super) struct DemoShop {
    pub(super) name: &'static str,
    /// The part of its e-mail address before the `@`.
    pub(super) mailbox: &'static str,
    pub(super) description: &'static str,
    pub(super) address: &'static str,
    pub(super) zip_code: i64,
    pub(super) phone_number: i64,
    pub(super) motif: Motif,
    pub(super) hue: i32,
    pub(super) products: &'static [Article],
    pub(super) event: Sale,
}

/// A product of the demo.
pub(super) struct Article {
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) category: &'static str,
    pub(super) tags: &'static str,
    /// In cents: struck through, and asked for.
    pub(super) cents: (i64, i64),
    pub(super) stock: i64,
    pub(super) sold: i64,
    pub(super) motif: Motif,
    pub(super) hue: i32,
}

/// An event of the demo: an article for a while.
pub(super) struct Sale {
    pub(super) article: Article,
    /// Days from now.
    pub(super) starts: i64,
    pub(super) ends: i64,
}

const COMPUTERS: &str = "Computers and Laptops";
const COSMETICS: &str = "cosmetics and body care";
const ACCESSORIES: &str = "Accesories";
const CLOTHS: &str = "Cloths";
const SHOES: &str = "Shoes";
const GIFTS: &str = "Gifts";
const PETS: &str = "Pet Care";
const MOBILE: &str = "Mobile and Tablets";
const MUSIC: &str = "Music and Gaming";
const OTHERS: &str = "Others";

/// One line of the tables below.
const fn article(
    name: &'static str,
    category: &'static str,
    cents: (i64, i64),
    (stock, sold): (i64, i64),
    (motif, hue): (Motif, i32),
    tags: &'static str,
    description: &'static str,
) -> Article {
    Article { name, description, category, tags, cents, stock, sold, motif, hue }
}

/// The shops.
#[rustfmt::skip]
pub(super) const SHOPS: [DemoShop; 3] = [
    DemoShop {
        name: "Circuit and Co",
        mailbox: "circuit",
        description: "Screens, keys and sound for the desk and the sofa. Everything is tried out before it is sold.",
        address: "12 Harbour Road, Karachi",
        zip_code: 75600,
        phone_number: 2_135_550_101,
        motif: Motif::Gamepad,
        hue: 215,
        products: &[
            article("Featherlight 14 Laptop", COMPUTERS, (119_900, 99_900), (12, 31), (Motif::Laptop, 215), "laptop, 14 inch, light",
                "A kilogram of aluminium with a bright 14 inch screen, sixteen gigabytes of memory and a battery for a long day."),
            article("Studio 27 Monitor", COMPUTERS, (44_900, 37_950), (9, 18), (Motif::Monitor, 250), "monitor, screen, 27 inch",
                "Sharp text, honest colours and a stand that turns. One cable brings picture and power."),
            article("Quiet Mechanical Keyboard", COMPUTERS, (12_900, 9_900), (40, 77), (Motif::Keyboard, 190), "keyboard, mechanical",
                "Keys that click for the fingers and not for the neighbours. The caps can be changed, the layout too."),
            article("Pocket 6 Smartphone", MOBILE, (69_900, 62_900), (15, 54), (Motif::Phone, 265), "phone, smartphone, camera",
                "Fits a hand, lasts two days and takes pictures in the dark."),
            article("Sketch 11 Tablet", MOBILE, (54_900, 48_900), (8, 22), (Motif::Tablet, 165), "tablet, pen, drawing",
                "A tablet that feels like paper, with a pen that needs no charging."),
            article("Open Air Headphones", MUSIC, (24_900, 19_999), (20, 63), (Motif::Headphones, 340), "headphones, music",
                "Open at the back for a wide stage, soft at the ears for long evenings."),
            article("Two Thumb Controller", MUSIC, (6_900, 5_490), (35, 91), (Motif::Gamepad, 285), "gamepad, controller, games",
                "Sticks that do not drift, buttons that can be replaced, forty hours on a charge."),
            article("Shelf Speaker Pair", MUSIC, (18_000, 14_900), (0, 45), (Motif::Speaker, 25), "speakers, audio",
                "Two small boxes with a surprisingly large sound. Sold out for now, back next month."),
        ],
        event: Sale {
            article: article("Weekend Sound Deal", MUSIC, (24_900, 14_900), (10, 4), (Motif::Headphones, 200), "headphones, offer",
                "Our open headphones at the price of the small ones, this week only."),
            starts: -1,
            ends: 6,
        },
    },
    DemoShop {
        name: "Thread House",
        mailbox: "thread",
        description: "Clothes, shoes and bags that are meant to be worn for years, and mended.",
        address: "4 Mall Road, Lahore",
        zip_code: 54000,
        phone_number: 4_235_550_102,
        motif: Motif::Shirt,
        hue: 10,
        products: &[
            article("Everyday Cotton Shirt", CLOTHS, (2_500, 1_850), (120, 210), (Motif::Shirt, 205), "shirt, cotton",
                "Heavy cotton that keeps its shape, in a cut for everybody."),
            article("Harbour Hoodie", CLOTHS, (6_000, 4_500), (44, 87), (Motif::Hoodie, 355), "hoodie, warm",
                "Brushed inside, windproof outside, with a pocket that is large enough for both hands and a book."),
            article("Linen Summer Dress", CLOTHS, (8_900, 6_900), (26, 39), (Motif::Dress, 320), "dress, linen, summer",
                "Washed linen with pockets. It wrinkles, as linen should."),
            article("Canvas Sneakers", SHOES, (7_500, 5_995), (60, 132), (Motif::Shoe, 220), "sneakers, canvas",
                "Light canvas on a sole of natural rubber. Machine washable."),
            article("Trail Running Shoes", SHOES, (12_000, 9_500), (33, 48), (Motif::Shoe, 135), "running, trail, shoes",
                "Grip for wet roots, a toe cap for the stones, and laces that stay tied."),
            article("Weekender Bag", ACCESSORIES, (14_000, 11_500), (18, 27), (Motif::Bag, 30), "bag, travel, leather",
                "Takes three days of clothes and fits under any seat."),
            article("Field Watch", ACCESSORIES, (19_900, 16_500), (14, 20), (Motif::Watch, 160), "watch, steel",
                "A clear dial, a steel case and a movement that needs no battery."),
            article("Round Sunglasses", ACCESSORIES, (4_500, 3_200), (70, 101), (Motif::Glasses, 45), "sunglasses, summer",
                "Real protection from the sun in a frame that suits nearly every face."),
        ],
        event: Sale {
            article: article("Sneaker Sprint", SHOES, (7_500, 3_995), (25, 11), (Motif::Shoe, 280), "sneakers, offer",
                "Last season's colours, two weeks, while they last."),
            starts: -3,
            ends: 11,
        },
    },
    DemoShop {
        name: "Willow Corner",
        mailbox: "willow",
        description: "Small good things: for the skin, for friends, for four paws and for the window sill.",
        address: "7 Garden Street, Islamabad",
        zip_code: 44000,
        phone_number: 5_135_550_103,
        motif: Motif::Plant,
        hue: 130,
        products: &[
            article("Calendula Hand Cream", COSMETICS, (1_400, 1_150), (90, 143), (Motif::Tube, 35), "cream, hands, calendula",
                "For hands that work. It is absorbed at once and smells of nearly nothing."),
            article("Rosewood Lipstick", COSMETICS, (2_200, 1_700), (55, 96), (Motif::Lipstick, 345), "lipstick, colour",
                "A warm tone that stays through dinner."),
            article("Mint Body Butter", COSMETICS, (1_800, 1_280), (48, 58), (Motif::Jar, 155), "body care, mint",
                "Shea butter and mint from the garden, whipped until it melts by itself."),
            article("Ribbon Gift Box", GIFTS, (3_900, 2_900), (30, 72), (Motif::Gift, 0), "gift, box",
                "Tea, chocolate and a candle in a box that is a present already."),
            article("Birthday Balloon Set", GIFTS, (1_500, 999), (150, 188), (Motif::Balloons, 195), "balloons, birthday",
                "Thirty balloons, string and a pump. The air is up to you."),
            article("Stoneware Dog Bowl", PETS, (2_400, 1_800), (42, 65), (Motif::Bowl, 210), "dog, bowl",
                "Too heavy to be pushed through the kitchen, and dishwasher safe."),
            article("Round Cat Bed", PETS, (5_500, 4_200), (16, 34), (Motif::Paw, 290), "cat, bed",
                "A warm round nest. The cat may still prefer the box it came in."),
            article("Glazed Plant Pot", OTHERS, (2_800, 2_100), (38, 53), (Motif::Plant, 18), "plant, pot, ceramic",
                "Hand glazed, with a hole and a saucer. The plant is included."),
            article("Enamel Desk Lamp", OTHERS, (6_400, 4_900), (3, 29), (Motif::Lamp, 175), "lamp, desk, light",
                "Warm light exactly where it is needed, from an arm that stays where it is put."),
        ],
        event: Sale {
            article: article("Quiet Evening Set", COSMETICS, (4_500, 2_990), (40, 0), (Motif::Tube, 265), "set, body care, offer",
                "Cream, butter and a candle for one quiet evening. From next week."),
            starts: 5,
            ends: 12,
        },
    },
];

/// What the demo's shopper says: shop, product, stars, words.
pub(super) const REVIEWS: [(usize, usize, f64, &str); 6] = [
    (0, 0, 5.0, "So light that I checked twice whether it was in the bag."),
    (0, 5, 4.0, "Lovely sound. A longer cable would be nice."),
    (1, 0, 5.0, "Third one. The first is still fine."),
    (1, 3, 4.0, "Comfortable from the first day."),
    (2, 0, 5.0, "My hands have forgotten the winter."),
    (2, 6, 3.0, "Good bed. The cat sleeps in the box."),
];

/// What the demo's shopper and the first shop have written to each other; the shopper begins.
pub(super) const CHAT: [&str; 4] = [
    "Hello! Are the shelf speakers coming back?",
    "Hello Olive, yes: a new delivery is due next month.",
    "Great, could you keep a pair for me?",
    "With pleasure. We will write as soon as they are here.",
];
