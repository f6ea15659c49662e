// Names for services that come without one: `hungry_hugle` in Docker, from our own words here.

const adjectives =
	"able amber bold brave brisk calm clear clever eager early fair fleet fond gentle glad keen kind lively lucid merry neat nimble plain quick quiet ready steady sunny swift tidy warm wise";
const nouns =
	"alder aspen beech birch cedar cherry clover cypress daisy elder elm fern fir hazel heather holly iris ivy larch laurel lilac linden lotus maple moss oak olive pine poplar rowan sorrel willow";

/** A name that follows from the id, and that nobody has yet. */
export function nameFor(id: string, taken: (name: string) => boolean): string {
	const sum = [...id].reduce((value, char) => (value * 31 + char.charCodeAt(0)) % 2 ** 31, 7);
	const first = adjectives.split(" ");
	const second = nouns.split(" ");
	const name = `${first[sum % first.length]}_${second[Math.floor(sum / 64) % second.length]}`;
	return taken(name) ? `${name}_${id.slice(0, 6)}` : name;
}
