// Files that are bundled as text.

declare module "*.sql" {
	const text: string;
	// biome-ignore lint/style/noDefaultExport: it is how a bundler gives a text
	export default text;
}

declare module "*.sh" {
	const text: string;
	// biome-ignore lint/style/noDefaultExport: it is how a bundler gives a text
	export default text;
}
